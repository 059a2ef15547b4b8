//! Simulated radios that can less than others: what the driver makes by request only
//! (drivers/net/wireless/mac80211_hwsim.h).

use anyhow::{Context, Result};
use mesh_tests::namespace::Namespace;
use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::err::RouterError;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, NlattrBuilder, NoUserHeader};
use neli::nl::NlPayload;
use neli::router::synchronous::NlRouter;
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;

const FAMILY: &str = "MAC80211_HWSIM";
const CMD_NEW_RADIO: u8 = 4;
const ATTR_RADIO_NAME: u16 = 17;
const ATTR_NO_VIF: u16 = 18;
const ATTR_IFTYPE_SUPPORT: u16 = 23;

/// What the radio of a Raspberry Pi can be: station and access point (`enum nl80211_iftype`).
const STATION_AND_AP: u32 = 1 << 2 | 1 << 3;

/// Gives a router another radio, called `name`, that can be no part of a mesh. It is gone with the
/// driver.
pub(crate) fn add_without_mesh(router: &Namespace, name: &str) -> Result<()> {
    router.within(|| {
        new_radio(&[
            (ATTR_RADIO_NAME, [name.as_bytes(), &[0]].concat()),
            (ATTR_NO_VIF, Vec::new()),
            (ATTR_IFTYPE_SUPPORT, STATION_AND_AP.to_ne_bytes().to_vec()),
        ])
        .with_context(|| format!("a radio called {name}"))
    })
}

fn new_radio(attributes: &[(u16, Vec<u8>)]) -> Result<()> {
    let (router, _) = NlRouter::connect(NlFamily::Generic, None, Groups::empty())?;
    let family = router.resolve_genl_family(FAMILY)?;
    let mut attrs = GenlBuffer::<u16, Buffer>::new();
    for (kind, value) in attributes {
        let kind = AttrTypeBuilder::default().nla_type(*kind).build()?;
        let attribute = NlattrBuilder::default()
            .nla_type(kind)
            .nla_payload(Buffer::from(value.as_slice()))
            .build()?;
        attrs.push(attribute);
    }
    let request = GenlmsghdrBuilder::<u8, u16, NoUserHeader>::default()
        .cmd(CMD_NEW_RADIO)
        .version(1)
        .attrs(attrs)
        .build()?;
    let answers = router.send::<_, _, u16, Genlmsghdr<u8, u16>>(
        family,
        NlmF::ACK,
        NlPayload::Payload(request),
    )?;
    for answer in answers {
        match answer {
            // The number of the new radio, where others say 0.
            Err(RouterError::Nlmsgerr(error)) if *error.error() > 0 => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}
