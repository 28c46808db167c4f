//! Addresses as they stand in headers, of every instance of a header and out of groups.

use mail_parser::{HeaderName, Message as Parsed};

use super::{headers, values};
use crate::protocol::Address;

const MAX_ADDRESSES: usize = 500;
const MAX_NAME: usize = 200;
/// RFC 5321, section 4.5.3.1: a path has at most 256 octets with its brackets.
const MAX_ADDRESS: usize = 320;

/// All addresses of a header.
pub(super) fn of(parsed: &Parsed<'_>, name: &HeaderName<'_>) -> Vec<Address> {
    values(parsed, name)
        .filter_map(|value| value.as_address())
        .flat_map(mail_parser::Address::iter)
        .filter_map(|found| {
            let address = found.address.as_deref().map(str::trim).filter(|address| !address.is_empty())?;
            let name = found.name.as_deref().map(|name| headers::line(name, MAX_NAME)).filter(|name| !name.is_empty());
            Some(Address { name, address: headers::line(address, MAX_ADDRESS).to_lowercase() })
        })
        .take(MAX_ADDRESSES)
        .collect()
}
