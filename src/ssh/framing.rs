//! Finds a command's output between its marks (see [`crate::model::command::Wire`]).
//!
//! Invariant: the bytes that come out are exactly those between the begin and the end mark, however the stream was cut into chunks.

use crate::model::command::Wire;

/// How much of the noise before the begin mark is kept for an error message.
const NOISE_LIMIT: usize = 4 << 10;

/// One stream of a command.
#[derive(Debug)]
pub(super) struct Framing {
    begin: Vec<u8>,
    end: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the begin mark: the last of what came.
    Noise(Vec<u8>),
    /// Between the marks: bytes that may be the start of the end mark.
    Output { pid: u32, held: Vec<u8> },
    /// After the end mark. No pid: the waiting shell could not start the command.
    Ended { pid: Option<u32>, status: u16, noise: Vec<u8> },
}

/// What stands at a place where a mark may stand.
enum Mark {
    No,
    /// All that is there fits, and more may come.
    Part,
    Whole {
        number: u32,
        length: usize,
    },
}

impl Framing {
    pub fn new(wire: &Wire) -> Self {
        Self {
            begin: format!("{} ", wire.begin).into_bytes(),
            end: format!("\n{} ", wire.end).into_bytes(),
            state: State::Noise(Vec::new()),
        }
    }

    /// Takes the next bytes of the stream and gives those of the command's output that are certain.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        match &mut self.state {
            State::Ended { .. } => Vec::new(),
            State::Noise(noise) => {
                noise.extend_from_slice(bytes);
                let noise = std::mem::take(noise);
                self.read_noise(noise)
            }
            State::Output { pid, held } if held.is_empty() => {
                let pid = *pid;
                self.read_output(pid, bytes)
            }
            State::Output { pid, held } => {
                let (pid, mut all) = (*pid, std::mem::take(held));
                all.extend_from_slice(bytes);
                self.read_output(pid, &all)
            }
        }
    }

    fn read_noise(&mut self, mut noise: Vec<u8>) -> Vec<u8> {
        let begin = find(&noise, &self.begin);
        if let Some((_, Mark::Whole { number: pid, length })) = begin {
            return self.read_output(pid, noise.get(length..).unwrap_or_default());
        }
        let mut keep = NOISE_LIMIT;
        let end = find(&noise, &self.end);
        match end {
            Some((start, Mark::Whole { number, .. })) => {
                noise.truncate(start);
                self.state = State::Ended { pid: None, status: status(number), noise };
                return Vec::new();
            }
            Some((start, _)) => keep = keep.max(noise.len() - start),
            None => {}
        }
        if let Some((start, _)) = begin {
            keep = keep.max(noise.len() - start);
        }
        noise.drain(..noise.len().saturating_sub(keep));
        self.state = State::Noise(noise);
        Vec::new()
    }

    fn read_output(&mut self, pid: u32, bytes: &[u8]) -> Vec<u8> {
        let (output, state) = match find(bytes, &self.end) {
            None => (bytes, State::Output { pid, held: Vec::new() }),
            Some((start, Mark::Whole { number, .. })) => {
                let state = State::Ended { pid: Some(pid), status: status(number), noise: Vec::new() };
                (bytes.get(..start).unwrap_or_default(), state)
            }
            Some((start, _)) => {
                let (output, held) = bytes.split_at(start);
                (output, State::Output { pid, held: held.to_vec() })
            }
        };
        self.state = state;
        output.to_vec()
    }

    /// The process group of the command, once the begin mark was there.
    pub fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Noise(_) => None,
            State::Output { pid, .. } => Some(*pid),
            State::Ended { pid, .. } => *pid,
        }
    }

    /// The exit status, once the end mark was there.
    pub fn status(&self) -> Option<u8> {
        match &self.state {
            State::Noise(_) | State::Output { .. } => None,
            State::Ended { status, .. } => Some(u8::try_from(*status).unwrap_or(u8::MAX)),
        }
    }

    /// The last of what came before the begin mark, while there is none.
    pub fn noise(&self) -> &[u8] {
        match &self.state {
            State::Output { .. } => &[],
            State::Noise(noise) | State::Ended { noise, .. } => noise,
        }
    }
}

/// Some shells report a signal as 256 + n (ksh93), most as 128 + n.
fn status(number: u32) -> u16 {
    let low = u16::try_from(number & 0x7f).unwrap_or_default();
    if number > 255 { low | 0x80 } else { u16::try_from(number).unwrap_or_default() }
}

/// The first whole mark, or the first place at the end of `bytes` where one may have started. Its length counts from the start of `bytes`.
fn find(bytes: &[u8], mark: &[u8]) -> Option<(usize, Mark)> {
    let first = *mark.first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let start = from + rest.iter().position(|&b| b == first)?;
        match mark_at(bytes.get(start..)?, mark) {
            Mark::No => from = start + 1,
            Mark::Part => return Some((start, Mark::Part)),
            Mark::Whole { number, length } => return Some((start, Mark::Whole { number, length: start + length })),
        }
    }
}

/// Is there `MARK NUMBER\n` at the start of `bytes`?
fn mark_at(bytes: &[u8], mark: &[u8]) -> Mark {
    let Some(rest) = bytes.strip_prefix(mark) else {
        return if mark.starts_with(bytes) { Mark::Part } else { Mark::No };
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = rest.get(..digits).and_then(|d| std::str::from_utf8(d).ok());
    match (rest.get(digits), number.and_then(|n| n.parse().ok())) {
        // No process has a number of more than ten digits.
        (None, _) if digits <= 10 => Mark::Part,
        (Some(b'\n'), Some(number)) => Mark::Whole { number, length: mark.len() + digits + 1 },
        _ => Mark::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::RemoteCommand;
    use proptest::prelude::*;

    fn framing() -> Framing {
        Framing::new(&RemoteCommand::shell("true").wire("abc"))
    }

    fn read(chunks: &[&[u8]]) -> (Vec<u8>, Framing) {
        let mut framing = framing();
        let output = chunks.iter().flat_map(|c| framing.push(c)).collect();
        (output, framing)
    }

    #[test]
    fn noise_and_marks_are_taken_off() {
        let (output, framing) = read(&[b"Welcome!\nno newline here: abc-begin 42\nhi\n\nabc-end 3\nlate daemon"]);
        assert_eq!(output, b"hi\n");
        assert_eq!((framing.pid(), framing.status()), (Some(42), Some(3)));
    }

    #[test]
    fn output_without_a_final_newline_gets_none() {
        assert_eq!(read(&[b"abc-begin 1\nx\nabc-end 0\n"]).0, b"x");
        assert_eq!(read(&[b"abc-begin 1\n\nabc-end 0\n"]).0, b"");
        assert_eq!(read(&[b"abc-begin 1\n\n\nabc-end 0\n"]).0, b"\n");
    }

    #[test]
    fn what_only_looks_like_a_mark_is_output() {
        for text in ["\nabc-end", "\nabc-end x\n", "\nabc-end 1x\n", "abc-end 0\n", "\nABC-end 0\n", "abc-begin 7\n"] {
            let (output, framing) = read(&[b"abc-begin 1\n", text.as_bytes(), b"\nabc-end 9\n"]);
            assert_eq!(String::from_utf8(output).unwrap(), text);
            assert_eq!(framing.status(), Some(9));
        }
    }

    #[test]
    fn half_a_mark_at_the_end_is_no_end() {
        let (output, framing) = read(&[b"abc-begin 1\nhi\nabc-end 1"]);
        assert_eq!(output, b"hi");
        assert_eq!(framing.status(), None);
    }

    #[test]
    fn an_end_without_a_begin_is_known_as_such() {
        let (_, framing) = read(&[b"sh: cannot fork\n\nabc-end 254\n"]);
        assert_eq!((framing.pid(), framing.status()), (None, Some(254)));
        assert_eq!(framing.noise(), b"sh: cannot fork\n");
    }

    #[test]
    fn signals_as_ksh_counts_them() {
        assert_eq!(read(&[b"abc-begin 1\n\nabc-end 265\n"]).1.status(), Some(137));
    }

    #[test]
    fn noise_without_end_is_bounded() {
        let mut framing = framing();
        for _ in 0..1000 {
            framing.push(&[b'a'; 1000]);
        }
        assert_eq!(framing.noise().len(), NOISE_LIMIT);
        framing.push(b"abc-begin 5\n");
        assert_eq!(framing.pid(), Some(5));
    }

    /// Bytes that come close to marks.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"\nabc-end ".to_vec()),
            Just(b"\nabc-en".to_vec()),
            Just(b"abc-begin ".to_vec()),
            Just(b"7".to_vec()),
            Just(b"abc-end 1\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_bytes(noise in tricky(), output in tricky(), cuts in prop::collection::vec(1usize..9, 1..40)) {
            let whole = |mark: &[u8], bytes: &[u8]| matches!(find(bytes, mark), Some((_, Mark::Whole { .. })));
            prop_assume!(!whole(b"abc-begin ", &[&noise[..], b"abc-begin "].concat()));
            prop_assume!(!whole(b"\nabc-end ", &[&noise[..], b"abc-begin "].concat()));
            prop_assume!(!whole(b"\nabc-end ", &[&output[..], b"\n"].concat()));
            let stream = [&noise[..], b"abc-begin 77\n", &output, b"\nabc-end 5\nlate"].concat();
            let mut framing = framing();
            let mut read = Vec::new();
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                read.extend(framing.push(chunk));
                rest = after;
            }
            prop_assert_eq!(read, output);
            prop_assert_eq!((framing.pid(), framing.status()), (Some(77), Some(5)));
        }
    }
}
