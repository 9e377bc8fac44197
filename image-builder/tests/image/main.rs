//! The built program as users run it: whole builds, the formats it makes, what it refuses.
//! Needs mmdebstrap for the tools tree; without it the tests say SKIPPED and why.

#[macro_use]
mod site;

mod builds;
mod formats;
mod refusals;
