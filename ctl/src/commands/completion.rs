use clap::CommandFactory as _;
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
    /// The shell: bash, zsh or fish
    #[arg(value_parser = shell)]
    shell: Shell,
}

fn shell(name: &str) -> Result<Shell, String> {
    match name {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("one of bash, zsh, fish".to_owned()),
    }
}

pub fn run(args: Args) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "assistantctl", &mut script);
    output::print(&script)?;
    Ok(Code::Ok)
}
