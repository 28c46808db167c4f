//! Whether a command has more processes than it may. The kernel keeps the bound and counts, but tells nobody; so it is
//! asked for one more process under the bound that is meant, and lets commands go a little beyond.

use std::{thread::sleep, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::kernel;

/// What is asked, how often within one look, as a bomb that ends some and starts others stands at its bound mostly only.
const SAMPLES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(1);

/// Whether most of a few samples show more than `most` processes and threads beside `others` (this one among them) in
/// this user namespace.
pub(crate) fn is_over(most: u64, others: u64) -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NPROC) else { return false };
    // The one that is tried counts, too.
    if setrlimit(Resource::RLIMIT_NPROC, (most + others + 1).min(hard), hard).is_err() {
        return false;
    }
    let mut over = 0;
    for sample in 0..SAMPLES {
        if is_refused() {
            over += 1;
        } else if sample == 0 {
            break;
        }
        sleep(BETWEEN);
    }
    let _ = setrlimit(Resource::RLIMIT_NPROC, soft, hard);
    over > SAMPLES / 2
}

/// Whether the kernel refuses a process.
fn is_refused() -> bool {
    let mut stack = [0; 16 << 10];
    match kernel::spawn_shared(&mut stack, &mut || ()) {
        Ok(child) => {
            let _ = kernel::wait_child(child, true);
            false
        }
        Err(errno) => errno == nix::errno::Errno::EAGAIN,
    }
}
