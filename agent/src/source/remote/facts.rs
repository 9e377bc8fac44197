//! What firmware and boot loader say about where the machine runs.

use crate::root::Root;

const DMI: &str = "/sys/class/dmi/id";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub sys_vendor: String,
    pub product_name: String,
    pub product_uuid: String,
    pub product_serial: String,
    pub chassis_asset_tag: String,
    pub bios_vendor: String,
    /// The kernel's command line.
    pub command_line: String,
}

impl Facts {
    /// What cannot be read is empty: a machine without SMBIOS is in no cloud.
    pub fn read(root: &Root) -> Facts {
        let line = |path: String| {
            let text = root.read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).trim().to_string()
        };
        let dmi = |name: &str| line(format!("{DMI}/{name}"));
        Facts {
            sys_vendor: dmi("sys_vendor"),
            product_name: dmi("product_name"),
            product_uuid: dmi("product_uuid"),
            product_serial: dmi("product_serial"),
            chassis_asset_tag: dmi("chassis_asset_tag"),
            bios_vendor: dmi("bios_vendor"),
            command_line: line("/proc/cmdline".to_string()),
        }
    }
}
