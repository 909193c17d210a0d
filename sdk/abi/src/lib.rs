//! The binary interface between the Outrigger host and its plugins.
//!
//! This is the only crate that names `abi_stable`; its version is the ABI version. A plugin is a
//! dynamic library that exports two symbols:
//!
//! * [`manifest::SYMBOL`]: a plain C struct the host can read before it trusts anything else, and
//! * the root module of [`v1`], whose layout `abi_stable` checks.
//!
//! Plugin authors use `outrigger-sdk`, which wraps both in one safe trait and one macro.
//!
//! Rules for this crate: integers in newtypes instead of enums (an unknown value is data, not
//! undefined behaviour), JSON strings for configuration and descriptions, no type of `tokio`,
//! `tracing` or `actix`. The types of `v1` freeze with the first release; what comes later gets a
//! module of its own.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod load;
pub mod manifest;
pub mod v1;

pub use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

#[doc(hidden)]
pub mod __private {
    pub use abi_stable::library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult,
    };
    pub use abi_stable::prefix_type::PrefixTypeTrait;
}

/// Exports a function `fn() -> v1::BackendModRef` as the root module of this library.
///
/// Used by the SDK's macro. `abi_stable`'s own attribute does the same, but expands to an
/// attribute that the 2024 edition refuses.
#[macro_export]
macro_rules! export_root_module {
    ($loader:path) => {
        // The name is `abi_stable::library::ROOT_MODULE_LOADER_NAME`; a test compares the two.
        #[doc(hidden)]
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        pub static OUTRIGGER_ROOT_MODULE: $crate::__private::LibHeader = {
            extern "C" fn erased() -> $crate::__private::RootModuleResult {
                $crate::__private::__call_root_module_loader($loader)
            }
            // SAFETY: `erased` returns the module that `$loader` returns, whose type the next
            // line fixes to `BackendModRef`.
            unsafe {
                const LOADER: fn() -> $crate::v1::BackendModRef = $loader;
                let _ = LOADER;
                $crate::__private::LibHeader::from_constructor::<$crate::v1::BackendModRef>(
                    erased,
                    $crate::__private::CheckTypeLayout::Yes,
                )
            }
        };
    };
}
