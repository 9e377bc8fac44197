//! The built strake-init on a running system, where it must not do its work.

use std::process::Command;

#[test]
fn strake_init_refuses_to_run_as_anything_but_pid_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_strake-init"))
        .output()
        .expect("the program was built for this test");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "strake-init: this is the first program of the initrd; it runs only as PID 1\n"
    );
}
