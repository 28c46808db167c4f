//! Makes a filter shorter: the kernel compiles it anew for every command, which takes it the longer the more there is.
//!
//! Equal answers become one where the short jumps of BPF reach, jumps to jumps become one, and what is never reached goes.

use std::io;

use seccompiler::{BpfProgram, sock_filter};

use super::program::{JUMP, RETURN, instruction};

const CLASS: u16 = 0x07;
const JUMPS: u16 = 0x05; // BPF_JMP
/// How far a condition can jump.
const REACH: usize = u8::MAX as usize;

/// A program that answers every call as this one does. Jumps must lead forward, as the kernel demands.
pub(super) fn compact(code: &[sock_filter]) -> io::Result<BpfProgram> {
    let mut shorter = Shorter { code, built: Vec::new(), places: vec![None; code.len()], answers: Vec::new() };
    let reached = shorter.reached()?;
    for index in (0..code.len()).rev().filter(|index| reached[*index]) {
        shorter.take(index)?;
    }
    shorter.go_on(0)?;
    shorter.built.reverse();
    Ok(shorter.built)
}

/// Built from the end, so that whatever is jumped to stands already.
struct Shorter<'a> {
    code: &'a [sock_filter],
    /// The new program, last instruction first.
    built: BpfProgram,
    /// Where instructions of the old one stand in it.
    places: Vec<Option<usize>>,
    /// Answers and where they stand; of equal ones the last is the nearest.
    answers: Vec<(u32, usize)>,
}

impl Shorter<'_> {
    fn at(&self, index: usize) -> io::Result<&sock_filter> {
        self.code.get(index).ok_or_else(|| io::Error::other("the filter jumps past its end"))
    }

    /// Where one really comes to that goes there.
    fn behind_jumps(&self, mut index: usize) -> io::Result<usize> {
        while let op = self.at(index)?
            && op.code == JUMP
        {
            index += 1 + op.k as usize;
        }
        Ok(index)
    }

    /// Where an instruction leads to: if its condition holds, and if not.
    fn next(&self, index: usize) -> io::Result<Option<(usize, usize)>> {
        let op = self.at(index)?;
        let to = |offset: u8| self.behind_jumps(index + 1 + usize::from(offset));
        Ok(match op.code {
            RETURN => None,
            code if code & CLASS == JUMPS => Some((to(op.jt)?, to(op.jf)?)),
            _ => Some((to(0)?, to(0)?)),
        })
    }

    fn reached(&self) -> io::Result<Vec<bool>> {
        let mut reached = vec![false; self.code.len()];
        let mut ahead = vec![self.behind_jumps(0)?];
        while let Some(index) = ahead.pop() {
            if !std::mem::replace(&mut reached[index], true)
                && let Some((holds, fails)) = self.next(index)?
            {
                ahead.extend([holds, fails]);
            }
        }
        Ok(reached)
    }

    /// Puts an instruction before what is built. Answers wait until somebody asks for them.
    fn take(&mut self, index: usize) -> io::Result<()> {
        let Some((holds, fails)) = self.next(index)? else { return Ok(()) };
        let op = self.at(index)?.clone();
        if op.code & CLASS == JUMPS {
            // Each may need an instruction of its own close by, which moves the other one away.
            self.bring_near(holds, 1)?;
            self.bring_near(fails, 0)?;
            let (holds, fails) = (self.distance(holds)?, self.distance(fails)?);
            let short = |distance| u8::try_from(distance).map_err(io::Error::other);
            self.built.push(instruction(op.code, short(holds)?, short(fails)?, op.k));
        } else {
            self.go_on(fails)?;
            self.built.push(op);
        }
        self.places[index] = Some(self.built.len() - 1);
        Ok(())
    }

    /// Where it stands, if it does.
    fn place(&self, index: usize) -> io::Result<Option<usize>> {
        let op = self.at(index)?;
        let answer = || self.answers.iter().rev().find(|(k, _)| *k == op.k).map(|(_, place)| *place);
        Ok(if op.code == RETURN { answer() } else { self.places[index] })
    }

    /// How many instructions the next one jumps over to come there.
    fn distance(&self, index: usize) -> io::Result<usize> {
        let place = self.place(index)?.ok_or_else(|| io::Error::other("the filter jumps back"))?;
        Ok(self.built.len() - 1 - place)
    }

    /// Makes sure that a condition reaches it, even if so many instructions more come between.
    fn bring_near(&mut self, index: usize, more: usize) -> io::Result<()> {
        let far = self.place(index)?.is_none_or(|place| self.built.len() - 1 - place + more > REACH);
        if far { self.stand_in(index) } else { Ok(()) }
    }

    /// Makes sure that whoever comes from above comes there.
    fn go_on(&mut self, index: usize) -> io::Result<()> {
        let index = self.behind_jumps(index)?;
        let next = self.place(index)?.is_some_and(|place| place + 1 == self.built.len());
        if next { Ok(()) } else { self.stand_in(index) }
    }

    /// The answer itself, or a jump to what is too far away.
    fn stand_in(&mut self, index: usize) -> io::Result<()> {
        let op = self.at(index)?.clone();
        if op.code == RETURN {
            self.answers.push((op.k, self.built.len()));
            self.built.push(op);
        } else {
            let distance = u32::try_from(self.distance(index)?).map_err(io::Error::other)?;
            self.places[index] = Some(self.built.len());
            self.built.push(instruction(JUMP, 0, 0, distance));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;

    fn answer(k: u32) -> sock_filter {
        instruction(RETURN, 0, 0, k)
    }

    #[test]
    fn equal_answers_become_one_and_what_is_not_reached_goes() {
        let code = [
            instruction(LOAD, 0, 0, 0),
            instruction(EQUAL, 0, 1, 7),
            answer(1),
            instruction(EQUAL, 1, 0, 8),
            instruction(JUMP, 0, 0, 1),
            instruction(JUMP, 0, 0, 1),
            answer(2),
            answer(1),
            answer(3),
        ];
        let short = compact(&code).unwrap();
        let expected = [
            instruction(LOAD, 0, 0, 0),
            instruction(EQUAL, 2, 0, 7),
            instruction(EQUAL, 1, 0, 8),
            answer(2),
            answer(1),
        ];
        assert_eq!(short, expected);
    }

    #[test]
    fn far_answers_are_given_again_and_far_conditions_jumped_to() {
        // 1000 conditions, each of which may answer 0 or go on, and the first of which goes to the last.
        let mut code = vec![instruction(LOAD, 0, 0, 0), instruction(EQUAL, 0, 1, 5000), instruction(JUMP, 0, 0, 2000)];
        code.extend((0..1000).flat_map(|k| [instruction(EQUAL, 0, 1, k), answer(0)]));
        code.push(instruction(EQUAL, 0, 1, 5000));
        code.extend([answer(9), answer(1)]);
        let short = compact(&code).unwrap();
        assert!(short.len() < 1030, "{}", short.len());
        for (number, expected) in [(0, 0), (1, 0), (500, 0), (999, 0), (1000, 1), (5000, 9)] {
            assert_eq!(super::super::tests::interpret(&short, number, 0, [0; 6]).0, expected, "{number}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_an_error() {
        assert!(compact(&[instruction(EQUAL, 0, 1, 7), answer(1)]).is_err());
        assert!(compact(&[]).is_err());
    }
}
