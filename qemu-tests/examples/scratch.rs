use std::path::Path;
use std::time::Instant;
use strake_qemu_tests::{machine::*, ssh::KeyPair, tools::Tools, wait::Deadline};
fn main() -> anyhow::Result<()> {
    let dir = Path::new("/work/exp/lab-dev/run");
    std::fs::create_dir_all(dir)?;
    let tools = Tools::new(
        "/work/exp/lab-dev/strake-image-real".into(),
        Path::new("/work/main/target/strake"),
    );
    let key = KeyPair::in_directory(dir, &tools)?;
    let user = format!(
        "#cloud-config\nhostname: ref\nusers:\n  - name: core\n    shell: /bin/bash\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    ssh_authorized_keys:\n      - {}\n",
        key.public()?
    );
    let t = Instant::now();
    let spec = MachineSpec::new("ref", Path::new("/work/exp/lab-dev/ref.raw"), &key)
        .no_cloud(&user)
        .kernel_option("strake.test=1");
    let mut m = Machine::start(spec, &dir.join("m"), &tools)?;
    println!("started {:?}", t.elapsed());
    m.wait_for_ssh(Deadline::seconds(600))?;
    println!("ssh {:?}", t.elapsed());
    println!("{}", m.ask("cat /proc/cmdline; uname -a; systemctl --failed --no-legend; systemd-analyze || true; systemctl is-active boot-complete.target; systemctl show -p ActiveEnterTimestampMonotonic boot-complete.target")?);
    let a = Instant::now();
    m.snapshot("s1")?;
    println!("snapshot {:?}", a.elapsed());
    m.ask("sudo touch /marker")?;
    let a = Instant::now();
    m.restore("s1")?;
    println!("restore {:?}", a.elapsed());
    m.wait_for_ssh(Deadline::seconds(30))?;
    println!("restored: {:?}", m.ssh("ls /marker")?);
    let a = Instant::now();
    m.reboot(Deadline::seconds(200))?;
    println!("reboot {:?}", a.elapsed());
    println!("{}", m.ask("systemctl is-system-running --wait; systemd-analyze; systemctl show -p ActiveEnterTimestampMonotonic boot-complete.target; systemctl --failed --no-legend; systemd-analyze blame | head -30")?);
    m.power_off(std::time::Duration::from_secs(60))?;
    println!("off");
    m.power_on()?;
    println!(
        "{:?}",
        m.wait_for_line("login:", Deadline::seconds(20))
            .map_err(|e| e.to_string())
    );
    m.power_cut()?;
    Ok(())
}
