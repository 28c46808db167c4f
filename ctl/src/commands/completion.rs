use clap::{
    CommandFactory as _,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use clap_complete::Shell;

use crate::{
    Cli,
    exit::{Code, Result},
    output,
};

/// Print a script that completes commands in a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  source <(assistantctl completion bash)
  assistantctl completion zsh > ~/.zfunc/_assistantctl
  assistantctl completion fish > ~/.config/fish/completions/assistantctl.fish")]
pub struct Args {
    /// The shell
    #[arg(value_parser = PossibleValuesParser::new(["bash", "zsh", "fish"]).map(|name| shell(&name)))]
    shell: Shell,
}

fn shell(name: &str) -> Shell {
    match name {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    }
}

pub fn run(args: Args) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "assistantctl", &mut script);
    output::print(&script)?;
    Ok(Code::Ok)
}
