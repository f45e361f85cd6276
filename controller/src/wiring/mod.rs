//! Builds clients, the provider and the loops from ports.

use controller_ports::Ports;

use crate::{Config, Process};

pub(crate) async fn run(_config: Config, _ports: Ports, _process: Process) -> anyhow::Result<()> {
    anyhow::bail!("the loops are not wired yet")
}
