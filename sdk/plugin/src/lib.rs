//! Write an Outrigger backend: one safe trait, one macro.
//!
//! Implement [`Backend`], call [`export_backend!`], build a `cdylib`. The macro exports the
//! manifest and the root module, catches panics before they reach the host, and turns the host's
//! journal tokens into [`Permit`]s: what the host asks to be written is in its journal. [`undo`] is
//! re-exported for reading knobs, and for writing them in [`Backend::commit`].
//!
//! A whole backend, which tells the load of the machine as its pressure:
//!
//! ```
//! use outrigger_sdk::*;
//!
//! struct LoadAverage;
//!
//! impl Backend for LoadAverage {
//!     fn describe() -> Description {
//!         Description {
//!             name: "load-average".into(),
//!             version: env!("CARGO_PKG_VERSION").into(),
//!             summary: "tells the load average".into(),
//!             platforms: vec!["linux".into()].into(),
//!             capabilities: vec![CapabilityReport::full(Capability::OBSERVE_PRESSURE)].into(),
//!             config_schema: r#"{"type": "object", "additionalProperties": false}"#.into(),
//!             preference: 0,
//!         }
//!     }
//!     fn create(_host: Host, _config: &str) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
//!         Ok(vec![match std::fs::read_to_string("/proc/loadavg") {
//!             Ok(_) => CapabilityReport::full(Capability::OBSERVE_PRESSURE),
//!             Err(error) => CapabilityReport::unavailable(
//!                 Capability::OBSERVE_PRESSURE,
//!                 format!("/proc/loadavg cannot be read: {error}"),
//!                 "mount /proc",
//!             ),
//!         }])
//!     }
//! }
//!
//! outrigger_sdk::export_backend!(LoadAverage, c"load-average");
//! # assert_eq!(LoadAverage.probe().unwrap()[0].capability, Capability::OBSERVE_PRESSURE);
//! # let mut nothing = Observation::default();
//! # let error = LoadAverage.observe(&ObserveRequest::default(), &mut nothing).unwrap_err();
//! # assert_eq!(error.code, ErrorCode::NOT_SUPPORTED);
//! ```
#![forbid(unsafe_code)]

mod backend;
mod export;
mod import;
pub mod maker;
mod operation;

pub use backend::{Backend, Host, Permit};
pub use import::Loaded;
pub use operation::{PreparedOperation, TaskIdExt, knob_error};
pub use outrigger_abi::v1::{
    Capability, CapabilityReport, ContextFields, ContextId, ContextNode, ContextReading,
    Description, Desired, Error, ErrorCode, Fields, Level, LogLevel, Observation, ObserveRequest,
    Setting, SubjectKind, SurveyRequest, TaskId, TaskInfo, TaskReading, Timer, TimerFacts,
};
pub use outrigger_undo::{self as undo, Kind, Operation, Task};

#[doc(hidden)]
pub mod __private {
    pub use crate::export::{create, describe};
    pub use outrigger_abi as abi;
    pub use outrigger_abi::v1::{BackendMod, BackendModRef, BackendObject, HostCalls};
}

/// Exports a type that implements [`Backend`] as this library's plugin.
///
/// The name must be the one [`Backend::describe`] gives, and the library's file must be called
/// after it: `my-backend` lives in `liboutrigger_my_backend.so`. The crate documentation has a
/// whole example. Use it once per library, outside of any function; since
/// it exports fixed names, one program can link at most one crate that uses it.
#[macro_export]
macro_rules! export_backend {
    ($backend:ty, $name:literal) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub static OUTRIGGER_PLUGIN_MANIFEST: $crate::__private::abi::manifest::Manifest =
            $crate::__private::abi::manifest::Manifest::new(
                $name,
                match ::std::ffi::CStr::from_bytes_with_nul(
                    concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
                ) {
                    Ok(text) => text,
                    Err(_) => c"",
                },
                if cfg!(panic = "unwind") {
                    $crate::__private::abi::manifest::PANIC_UNWIND
                } else {
                    $crate::__private::abi::manifest::PANIC_ABORT
                },
            );
        #[doc(hidden)]
        fn __outrigger_root_module() -> $crate::__private::BackendModRef {
            use $crate::__private::abi::__private::PrefixTypeTrait as _;
            $crate::__private::BackendMod {
                describe: $crate::__private::describe::<$backend>,
                create: $crate::__private::create::<$backend>,
            }
            .leak_into_prefix()
        }
        $crate::__private::abi::export_root_module!(__outrigger_root_module);
    };
}
