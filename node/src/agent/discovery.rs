//! Other daemons on the same network, by multicast DNS (RFC 6762, 6763). What is found is a place to ask, and never
//! trusted: who answers there shows a certificate of this cluster or is nobody.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;

use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;

use super::Happening;

const SERVICE: &str = "_mosix._udp.local.";
/// The key of the TXT record that says which cluster it is of.
const CLUSTER: &str = "cluster";
/// Longest part of the node's name in the instance's, which is one label (RFC 1035 §2.3.4: 63 octets).
const MAX_INSTANCE_NAME: usize = 40;

/// Announces this node and tells the agent of others; it ends when the responder is dropped.
pub(super) fn start(
    cluster: &str,
    name: &str,
    address: SocketAddr,
    agent: mpsc::Sender<Happening>,
) -> Result<ServiceDaemon, mdns_sd::Error> {
    let responder = ServiceDaemon::new()?;
    // Nodes of two clusters may have one name.
    let tag = BuildHasherDefault::<DefaultHasher>::default().hash_one(cluster) as u32;
    let short: String = name.chars().take(MAX_INSTANCE_NAME).collect();
    let instance = format!("{short}-{tag:08x}");
    let properties = [(CLUSTER, cluster)];
    let host = format!("{instance}.local.");
    let info = ServiceInfo::new(SERVICE, &instance, &host, address.ip(), address.port(), &properties[..])?;
    responder.register(info)?;
    let found = responder.browse(SERVICE)?;
    let cluster = cluster.to_owned();
    tokio::spawn(async move {
        while let Ok(event) = found.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            if service.txt_properties.get_property_val_str(CLUSTER) != Some(&cluster) {
                continue;
            }
            for ip in &service.addresses {
                let at = SocketAddr::new(ip.to_ip_addr(), service.port);
                if at != address && agent.send(Happening::Found(at)).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(responder)
}
