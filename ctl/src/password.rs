//! Passwords that nobody has to think of.

use std::{fs::File, io::Read as _, path::Path};

use secrecy::SecretString;

use crate::exit::{Failure, Result};

/// Letters and digits that are not taken for one another: 32 of them, five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
/// Groups of [`LETTERS`]: 100 bits together.
const GROUPS: usize = 4;
const LETTERS: usize = 5;

/// A strong password, such as `k3w9q-...`, from the kernel's random numbers.
pub fn generate() -> Result<SecretString> {
    let mut bytes = [0; GROUPS * LETTERS];
    let source = Path::new("/dev/urandom");
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|err| Failure::file("reading", source, &err))?;
    Ok(spelled(&bytes).into())
}

/// The lower five bits of each byte as a letter.
fn spelled(bytes: &[u8]) -> String {
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    let groups: Vec<String> = bytes.chunks(LETTERS).map(|group| group.iter().map(letter).collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_generated_password_is_long_legible_and_never_the_same() {
        let made: Vec<String> = (0..50).map(|_| generate().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), 50);
        let letters: HashSet<char> = made.iter().flat_map(|password| password.chars()).collect();
        assert!(letters.len() > 25, "{letters:?}");
        for password in &made {
            assert_eq!(password.len(), 23);
            assert!(password.split('-').all(|group| group.len() == 5), "{password}");
            assert!(!password.contains(['i', 'l', 'o', '0']), "{password}");
        }
        assert_eq!(spelled(&[0, 31, 32, 255, 1, 2]), "a9a9b-c");
    }
}
