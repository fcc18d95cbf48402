//! Settings of the process: environment variables, memory allocator, signal stack and exit.
mod allocator;
mod exit;
mod signal_stack;
mod wait_policy;

pub use exit::exit_without_destructors;
pub use signal_stack::handle_on_signal_stack;
pub use wait_policy::configure_process;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use wait_policy::restart_with_variables;
