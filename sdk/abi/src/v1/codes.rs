//! How a number with named values is declared.

/// Declares a newtype over `u32` with named values, so that an unknown one is data.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(StableAbi, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            $($(#[$doc])* pub const $variant: Self = Self($value);)*
            /// Every value this version names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The stable name, or `None` for a value this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($text),)* _ => None }
            }
            /// The value with that stable name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "unknown-{}", self.0),
                }
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(super) use codes;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::v1::ErrorCode;

    #[test]
    fn an_unknown_code_is_data() {
        let unknown: ErrorCode = serde_json::from_str("4711").unwrap();
        assert_eq!(unknown.name(), None);
        assert_eq!(unknown.to_string(), "unknown-4711");
    }
}
