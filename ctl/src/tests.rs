//! What can be said about the whole command line without a daemon.

use std::{fmt::Write as _, io::Write as _};

use clap::CommandFactory as _;

use super::*;

/// Every command with its full name, parents first.
fn tree() -> Vec<(String, clap::Command)> {
    fn walk(command: &clap::Command, parent: &str, found: &mut Vec<(String, clap::Command)>) {
        let name = format!("{parent} {}", command.get_name()).trim().to_owned();
        found.push((name.clone(), command.clone()));
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            walk(child, &name, found);
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk(&root, "", &mut found);
    found
}

#[test]
fn arguments_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples_and_help_of_80_columns() {
    for (name, mut command) in tree() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:"), "{name} has no examples");
        for line in help.lines() {
            assert!(text::width(line) <= 80, "{name}: {} columns: {line}", text::width(line));
        }
    }
}

#[test]
fn examples_can_be_parsed() {
    for (name, mut command) in tree() {
        let help = command.render_long_help().to_string();
        let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
        for line in examples.lines().take_while(|line| line.starts_with("  ")) {
            let Some(start) = line.find("assistantctl ") else { continue };
            let end = line[start..].find(['|', '<', '>', ')']).map_or(line.len(), |end| start + end);
            let end = line[start..].find(" && ").map_or(end, |and| end.min(start + and));
            let words = words(&line[start..end]);
            assert!(Cli::try_parse_from(&words).is_ok(), "{name}: {line}: {:?}", Cli::try_parse_from(&words).err());
        }
    }
}

/// Splits as a shell would, quotes taken away.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// The parts of the manual that follow from the program.
fn manual(old: &str) -> String {
    let mut codes = String::from("| code | meaning |\n|---:|---|\n");
    for (code, meaning) in Code::ALL {
        _ = writeln!(codes, "| {} | {meaning} |", *code as u8);
    }
    let mut commands = String::from("## Commands\n\nThe global options are those of `assistantctl` itself.\n");
    for (name, mut command) in tree() {
        let help = command.render_long_help().to_string();
        let help = if name == "assistantctl" { help } else { without(&help, "Global options:") };
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        let help = help.join("\n");
        _ = writeln!(commands, "\n### {name}\n\n```text\n{help}\n```");
    }
    let new = between(old, "<!-- exit codes: generated -->\n", &codes);
    between(&new, "<!-- commands: generated -->\n", &commands)
}

/// The text with a new part after a mark, up to the mark of its end.
fn between(text: &str, mark: &str, part: &str) -> String {
    let (before, rest) = text.split_once(mark).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{mark}\n{part}\n<!-- end -->{after}")
}

/// Help without one of its sections.
fn without(help: &str, heading: &str) -> String {
    let start = help.find(heading).unwrap();
    // Options with long help have empty lines between them; the next section begins at the margin.
    let next = help[start + 1..].find("\nExamples:").unwrap();
    format!("{}{}", &help[..start], &help[start + 1 + next + 1..])
}

/// Writes a document or holds it to what it has to say.
fn is_current(name: &str, new: impl Fn(&str) -> String) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    let new = new(&old);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, new).unwrap();
    } else {
        assert!(old == new, "{name} is stale: BLESS=1 cargo test -p assistantctl the_manual");
    }
}

#[test]
fn the_manual_is_up_to_date() {
    is_current("docs/assistantctl.md", manual);
}

/// The man page: the command, then each of its commands in a section of its own.
fn man_page() -> String {
    let mut page = Vec::new();
    for (index, (name, command)) in tree().into_iter().enumerate() {
        let man = clap_mangen::Man::new(command).title("assistantctl").section("1").manual("Assistant");
        let mut part = Vec::new();
        if index == 0 {
            man.render_title(&mut page).unwrap();
            man.render_name_section(&mut part).unwrap();
        }
        man.render_synopsis_section(&mut part).unwrap();
        man.render_description_section(&mut part).unwrap();
        man.render_options_section(&mut part).unwrap();
        man.render_extra_section(&mut part).unwrap();
        let text = String::from_utf8(part).unwrap().replace(".SH EXTRA", ".SH EXAMPLES");
        if index > 0 {
            writeln!(page, ".SH \"{}\"", name.to_uppercase()).unwrap();
        }
        page.extend(if index == 0 { text } else { text.replace(".SH ", ".SS ") }.into_bytes());
    }
    writeln!(page, ".SH \"SEE ALSO\"\n.BR assistantd (8),\n.BR assistant.toml (5)").unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn the_manual_page_is_up_to_date() {
    is_current("docs/man/assistantctl.1", |_| man_page());
}

#[test]
fn help_is_as_it_was() {
    let help: Vec<String> =
        tree().into_iter().map(|(name, mut command)| format!("### {name}\n\n{}", command.render_help())).collect();
    insta::assert_snapshot!("help", help.join("\n"));
}
