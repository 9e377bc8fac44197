//! Faults of the program itself. Other deadly signals need no handler: the kernel does not deliver
//! them to a PID 1 that has none.

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::failure;

const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
    Signal::SIGSYS,
];

#[allow(unsafe_code)]
pub(crate) fn fail_on_faults() {
    let action = SigAction::new(
        SigHandler::Handler(on_fault),
        SaFlags::SA_ONSTACK,
        SigSet::empty(),
    );
    for signal in FAULTS {
        // SAFETY: the handler allocates nothing, takes no lock and never returns to the fault.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

extern "C" fn on_fault(number: c_int) {
    let name = Signal::try_from(number).map_or("unknown signal", Signal::as_str);
    failure::fail_at_once(format_args!("bug: {name}"))
}
