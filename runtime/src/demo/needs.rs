//! What the demo needs of this machine, found out before anything is started.
//!
//! Asks `outrigger doctor`, in a process of its own: plugins stay out of the demo's process.

use std::process::{Command, Stdio};

use serde_json::Value;

/// The capability that the demo shows.
const NEEDED: &str = "cpu.weight";

/// Why the demo could not show anything here, and what to do about it; `None` if it can, or if
/// that could not be found out: then the demo shows it itself.
pub fn unmet() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let mut doctor = Command::new(program);
    doctor.args(["doctor", "--json"]).stdin(Stdio::null()).stderr(Stdio::null());
    let diagnosis: Value = serde_json::from_slice(&doctor.output().ok()?.stdout).ok()?;
    missing(&diagnosis)
}

fn missing(diagnosis: &Value) -> Option<String> {
    let capabilities = diagnosis["capabilities"].as_array()?;
    let find = |name: &str| capabilities.iter().find(|known| known["name"] == name);
    if find("observe.tasks")?["level"] == "unavailable" {
        return Some(
            "the demo needs plugins, and none was found that sees processes: build all of them \
             with `cargo build --release`, or put them into `plugins/` beside the program"
                .to_owned(),
        );
    }
    let needed = find(NEEDED).filter(|needed| needed["level"] == "unavailable")?;
    let text = |key: &str| needed[key].as_str().unwrap_or_default().to_owned();
    Some(format!("the demo needs {NEEDED}: {}\n{}", text("reason"), text("hint")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn host(tasks: &str, weight: &str) -> Value {
        json!({ "capabilities": [
            { "name": "observe.tasks", "level": tasks },
            { "name": "cpu.weight", "level": weight, "reason": "no permission", "hint": "be root" },
        ]})
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        assert_eq!(missing(&host("full", "full")), None);
        let told = missing(&host("full", "unavailable")).unwrap_or_default();
        assert!(told.contains("no permission") && told.contains("be root"), "{told}");
        let told = missing(&host("unavailable", "unavailable")).unwrap_or_default();
        assert!(told.contains("beside the program"), "{told}");
        assert_eq!(missing(&Value::Null), None);
    }
}
