//! Walking a tree: in order, without following links, with a bound on what is looked at.

use std::{sync::Arc, vec};

use cap_fs_ext::DirExt as _;
use cap_std::fs::Dir;

use super::{Item, Kind, MAX_DEPTH, Root, Spot, read::list};
use crate::error::Result;

/// What to do after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on, into it if it is a directory.
    Enter,
    /// Go on, but not into it.
    Skip,
    /// That was enough.
    Stop,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Entries that were looked at.
    pub entries: usize,
    /// Whether the bound, or the depth, ended it before the tree did.
    pub cut: bool,
}

impl Root {
    /// Visits what lies below a directory: each directory's names sorted, a directory before what is in it. Looks at
    /// `max` entries at most.
    ///
    /// # Errors
    /// When the directory itself cannot be read, or `visit` fails; what cannot be read below it is passed over.
    pub fn walk(&self, from: &Spot, max: usize, mut visit: impl FnMut(&Dir, &Item) -> Result<Step>) -> Result<Walked> {
        let mut walked = Walked { entries: 0, cut: false };
        let top = from.open_dir()?;
        let (items, complete) = list(&top, &from.path, max)?;
        walked.cut |= !complete;
        let mut stack: Vec<(Arc<Dir>, vec::IntoIter<Item>)> = vec![(top, items.into_iter())];
        loop {
            let depth = stack.len();
            let Some((dir, items)) = stack.last_mut() else { break };
            let Some(item) = items.next() else {
                stack.pop();
                continue;
            };
            if walked.entries >= max {
                walked.cut = true;
                break;
            }
            walked.entries += 1;
            match visit(dir, &item)? {
                Step::Stop => break,
                Step::Skip => {}
                Step::Enter if item.meta.kind != Kind::Dir => {}
                Step::Enter if depth >= MAX_DEPTH => walked.cut = true,
                Step::Enter => {
                    // Gone, swapped or unreadable by now: passed over.
                    let Ok(next) = dir.open_dir_nofollow(&item.name) else { continue };
                    let Ok((below, complete)) = list(&next, &item.path, max - walked.entries.min(max)) else {
                        continue;
                    };
                    walked.cut |= !complete;
                    stack.push((Arc::new(next), below.into_iter()));
                }
            }
        }
        Ok(walked)
    }
}
