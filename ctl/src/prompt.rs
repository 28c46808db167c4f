//! Questions to a person at a terminal.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    os::fd::AsFd as _,
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    exit::{Code, Failure, Result},
    progress,
};

/// Who answers questions; tests have a script.
pub trait Person {
    /// Tells something that needs no answer.
    fn tell(&mut self, line: &str);

    /// Asks for a line; without its end and white space around it.
    fn ask(&mut self, question: &str) -> Result<String>;

    /// Asks for what must not be shown while it is typed.
    fn ask_secret(&mut self, question: &str) -> Result<SecretString>;

    /// Asks for yes or no, until it is one of them; an empty answer is `default`.
    fn agrees(&mut self, question: &str, default: bool) -> Result<bool> {
        let choice = if default { "[Y/n]" } else { "[y/N]" };
        loop {
            match self.ask(&format!("{question} {choice}"))?.to_ascii_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.tell("  yes or no, please"),
            }
        }
    }
}

/// The person at the standard input.
pub struct Terminal(());

impl Terminal {
    /// If there is one.
    pub fn find() -> Option<Self> {
        (io::stdin().is_terminal() && io::stderr().is_terminal()).then_some(Self(()))
    }
}

impl Person for Terminal {
    fn tell(&mut self, line: &str) {
        progress::tell(line);
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        progress::ask(question);
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(0) => Err(unanswered()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(err) => Err(unreadable(&err)),
        }
    }

    fn ask_secret(&mut self, question: &str) -> Result<SecretString> {
        // Before the question stands there, so that an early answer is not shown either.
        let mut hidden = Hidden::begin()?;
        progress::ask(question);
        let read = hidden.line();
        drop(hidden);
        progress::tell("");
        read
    }
}

/// A terminal that does not show what is typed; as it was before when this is dropped. Control keys are read too, so
/// that none of them ends the program and leaves the terminal so.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn begin() -> Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(|err| unreadable(&err))?;
        let failed = |err: nix::Error| unreadable(&err.into());
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &hidden).map_err(failed)?;
        Ok(Self { terminal, before })
    }

    fn line(&mut self) -> Result<SecretString> {
        // Room for all of it: no copy of a part is left behind where it grew.
        let mut typed = Vec::with_capacity(assistant_api::secrets::MAX_BYTES);
        let mut key = [0];
        loop {
            if self.terminal.read(&mut key).map_err(|err| unreadable(&err))? == 0 {
                return Err(unanswered());
            }
            match key[0] {
                b'\r' | b'\n' => break,
                0x03 => return Err(Failure::new(Code::Interrupted, "interrupted; nothing was done")),
                0x04 if typed.is_empty() => return Err(unanswered()),
                0x08 | 0x7f => {
                    // A whole character.
                    while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
                }
                0x15 => typed.clear(),
                byte if byte < 0x20 => {}
                byte if typed.len() < typed.capacity() => typed.push(byte),
                _ => return Err(Failure::usage("that is too long")),
            }
        }
        secret(typed)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Bytes that somebody gave, as a secret without white space around it.
pub fn secret(bytes: Vec<u8>) -> Result<SecretString> {
    let text = SecretString::from(String::from_utf8(bytes).map_err(|_| Failure::usage("the value is no UTF-8 text"))?);
    let trimmed = text.expose_secret().trim();
    if trimmed.contains(|char: char| char.is_control()) {
        return Err(Failure::usage("the value has more than one line, or control characters in it"));
    }
    Ok(if trimmed.len() == text.expose_secret().len() { text } else { SecretString::from(trimmed) })
}

fn unanswered() -> Failure {
    Failure::new(Code::Failed, "the question was not answered; nothing was done")
}

fn unreadable(err: &io::Error) -> Failure {
    Failure::new(Code::Failed, format!("reading from the terminal: {err}"))
}

#[cfg(test)]
pub mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A person who gives prepared answers, and what he was shown.
    #[derive(Default)]
    pub struct Script {
        pub answers: VecDeque<&'static str>,
        pub shown: Vec<String>,
    }

    impl Script {
        pub fn new(answers: impl IntoIterator<Item = &'static str>) -> Self {
            Self { answers: answers.into_iter().collect(), shown: Vec::new() }
        }
    }

    impl Person for Script {
        fn tell(&mut self, line: &str) {
            self.shown.push(line.to_owned());
        }

        fn ask(&mut self, question: &str) -> Result<String> {
            self.shown.push(question.to_owned());
            self.answers.pop_front().map(str::to_owned).ok_or_else(unanswered)
        }

        fn ask_secret(&mut self, question: &str) -> Result<SecretString> {
            self.ask(&format!("{question} (hidden)")).map(SecretString::from)
        }
    }

    #[test]
    fn yes_and_no_are_asked_until_they_come() {
        let mut script = Script::new(["maybe", "Y", "", "", "no"]);
        assert!(script.agrees("Go on?", false).unwrap());
        assert!(script.agrees("Go on?", true).unwrap() && !script.agrees("Go on?", false).unwrap());
        assert!(!script.agrees("Go on?", true).unwrap());
        assert_eq!(script.agrees("Go on?", true).unwrap_err().code, Code::Failed);
        assert_eq!(script.shown[..3], ["Go on? [y/N]", "  yes or no, please", "Go on? [y/N]"]);
    }

    #[test]
    fn secrets_are_one_line_of_text() {
        let read = |bytes: &[u8]| secret(bytes.to_vec()).map(|secret| secret.expose_secret().to_owned());
        assert_eq!(read(b" key\n").unwrap(), "key");
        for wrong in [&b"a\nb"[..], b"a\x1bb", &[0xff]] {
            assert_eq!(read(wrong).unwrap_err().code, Code::Usage);
        }
    }
}
