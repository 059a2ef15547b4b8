//! meshd and meshctl end to end, each test in a village of its own.

mod bugreport;
mod commands;
mod configuration;
mod disk;
mod doctor;
mod flows;
mod gateways;
mod hostile;
mod internet;
mod live;
mod map;
mod mesh;
mod mtu;
mod names;
mod probing;
mod receipts;
mod restart;
mod sockets;
mod status_page;
mod supervised;
mod throughput;
mod tidy;
mod trial;
mod uplink;
mod versions;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            mesh::tests(),
            map::tests(),
            mtu::tests(),
            internet::tests(),
            uplink::tests(),
            versions::tests(),
            names::tests(),
            probing::tests(),
            throughput::tests(),
            sockets::tests(),
            flows::tests(),
            gateways::tests(),
            receipts::tests(),
            restart::tests(),
            supervised::tests(),
            tidy::tests(),
            trial::tests(),
            hostile::tests(),
            configuration::tests(),
            bugreport::tests(),
            live::tests(),
            status_page::tests(),
            commands::tests(),
            disk::tests(),
            doctor::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
