//! Finds a command's output between its marks (see [`Wire`]).
//!
//! Invariant: the bytes that come out are exactly those between the begin and the end mark, however the stream was cut into chunks.

use super::command::{MAX_REPORT, Wire};

/// How much of the noise before the begin mark is kept for an error message.
const NOISE_LIMIT: usize = 4 << 10;

/// The longest words of a mark, in bytes.
const LONGEST_WORDS: usize = 200;

/// One stream of a command.
#[derive(Debug)]
pub(super) struct Framing {
    begin: Vec<u8>,
    end: Vec<u8>,
    /// What separates the output from a report.
    found: Vec<u8>,
    /// What the command has reported about itself, once the end mark was there.
    report: Option<Vec<u8>>,
    /// Can these words stand in an end mark?
    ends: fn(&str) -> bool,
    /// The begin mark as it came, until it is known what follows it. Where a login shell has joined the two streams, that of the other one does.
    twin: Option<Vec<u8>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the begin mark: the last of what came.
    Noise(Vec<u8>),
    /// Between the marks: bytes that may be the start of the end mark.
    Output { pid: u32, held: Vec<u8> },
    /// Between the output and the end mark: what the command has reported, as far as it came, and bytes that may be the start of the end
    /// mark.
    Report { pid: u32, report: Vec<u8>, held: Vec<u8> },
    /// After the end mark. No pid: the waiting shell could not start the command.
    Ended { pid: Option<u32>, words: String, noise: Vec<u8> },
}

/// What stands at a place where a mark may stand.
enum Mark {
    /// All that is there fits, and more may come.
    Part,
    /// The mark with its words: so many bytes.
    Whole { words: String, length: usize },
}

impl Framing {
    pub fn new(wire: &Wire, ends: fn(&str) -> bool) -> Self {
        Self {
            begin: format!("{} ", wire.begin).into_bytes(),
            end: format!("{} ", wire.end).into_bytes(),
            found: format!("{} ", wire.found).into_bytes(),
            report: None,
            ends,
            twin: None,
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
            State::Output { pid, held } => {
                let (pid, held) = (*pid, std::mem::take(held));
                let all = if held.is_empty() { bytes } else { &[&held, bytes].concat() };
                self.read_output(pid, all)
            }
            State::Report { pid, report, held } => {
                let (pid, report, held) = (*pid, std::mem::take(report), std::mem::take(held));
                self.read_report(pid, report, &[&held, bytes].concat());
                Vec::new()
            }
        }
    }

    /// Takes what comes before the end mark.
    fn read_report(&mut self, pid: u32, mut report: Vec<u8>, bytes: &[u8]) {
        let end = find(bytes, &self.end, self.ends);
        let (new, held) = bytes.split_at(end.as_ref().map_or(bytes.len(), |(start, _)| *start));
        // No host gives more.
        report.extend(new.iter().take(MAX_REPORT.saturating_sub(report.len())));
        self.state = match end {
            Some((_, Mark::Whole { words, .. })) => {
                self.report = Some(report);
                State::Ended { pid: Some(pid), words, noise: Vec::new() }
            }
            Some((_, Mark::Part)) | None => State::Report { pid, report, held: held.to_vec() },
        };
    }

    /// What the command has reported, once it has ended.
    pub fn take_report(&mut self) -> Option<Vec<u8>> {
        self.report.take()
    }

    fn read_noise(&mut self, mut noise: Vec<u8>) -> Vec<u8> {
        let begin = find(&noise, &self.begin, is_number);
        if let Some((start, Mark::Whole { words, length })) = begin {
            self.twin = Some([self.begin.as_slice(), words.as_bytes(), b"\n"].concat());
            let output = noise.get(start + length..).unwrap_or_default();
            return self.read_output(words.parse().unwrap_or_default(), output);
        }
        let mut keep = NOISE_LIMIT;
        let end = find(&noise, &self.end, self.ends);
        match end {
            Some((start, Mark::Whole { words, .. })) => {
                noise.truncate(start);
                self.state = State::Ended { pid: None, words, noise };
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

    fn read_output(&mut self, pid: u32, mut bytes: &[u8]) -> Vec<u8> {
        if let Some(twin) = self.twin.take() {
            if twin.starts_with(bytes) && bytes.len() < twin.len() {
                self.state = State::Output { pid, held: bytes.to_vec() };
                self.twin = Some(twin);
                return Vec::new();
            }
            bytes = bytes.strip_prefix(twin.as_slice()).unwrap_or(bytes);
        }
        let (end, found) = (find(bytes, &self.end, self.ends), find(bytes, &self.found, is_number));
        if let Some((start, mark)) = found.filter(|(start, _)| end.as_ref().is_none_or(|(end, _)| start <= end)) {
            let (output, rest) = bytes.split_at(start);
            match mark {
                Mark::Whole { length, .. } => {
                    self.read_report(pid, Vec::new(), rest.get(length..).unwrap_or_default());
                }
                Mark::Part => self.state = State::Output { pid, held: rest.to_vec() },
            }
            return output.to_vec();
        }
        let (output, state) = match end {
            None => (bytes, State::Output { pid, held: Vec::new() }),
            Some((start, Mark::Whole { words, .. })) => {
                let state = State::Ended { pid: Some(pid), words, noise: Vec::new() };
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
            State::Output { pid, .. } | State::Report { pid, .. } => Some(*pid),
            State::Ended { pid, .. } => *pid,
        }
    }

    /// The words of the end mark, once it was there.
    pub fn end(&self) -> Option<&str> {
        match &self.state {
            State::Noise(_) | State::Output { .. } | State::Report { .. } => None,
            State::Ended { words, .. } => Some(words),
        }
    }

    /// The last of what came before the begin mark, while there is none.
    pub fn noise(&self) -> &[u8] {
        match &self.state {
            State::Output { .. } | State::Report { .. } => &[],
            State::Noise(noise) | State::Ended { noise, .. } => noise,
        }
    }
}

/// A process id or an exit status.
pub(super) fn is_number(words: &str) -> bool {
    words.len() <= 10 && words.parse::<u32>().is_ok() && words.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first whole mark, or the first place at the end of `bytes` where one may have started.
fn find(bytes: &[u8], mark: &[u8], fits: fn(&str) -> bool) -> Option<(usize, Mark)> {
    let first = *mark.first()?;
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(start, _)| start);
    starts.find_map(|start| Some((start, mark_at(bytes.get(start..)?, mark, fits)?)))
}

/// Is there `MARK WORDS\n` at the start of `bytes`?
fn mark_at(bytes: &[u8], mark: &[u8], fits: fn(&str) -> bool) -> Option<Mark> {
    let Some(rest) = bytes.strip_prefix(mark) else {
        return mark.starts_with(bytes).then_some(Mark::Part);
    };
    let length = rest.iter().take_while(|b| b.is_ascii_graphic() || **b == b' ').count();
    let words = rest.get(..length).and_then(|words| std::str::from_utf8(words).ok()).unwrap_or_default();
    match rest.get(length) {
        None if length <= LONGEST_WORDS => Some(Mark::Part),
        Some(b'\n') if fits(words) => Some(Mark::Whole { words: words.to_owned(), length: mark.len() + length + 1 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::command::RemoteCommand;
    use proptest::prelude::*;

    fn framing() -> Framing {
        Framing::new(&RemoteCommand::shell("true").wire("abc"), is_number)
    }

    fn read(chunks: &[&[u8]]) -> (Vec<u8>, Framing) {
        let mut framing = framing();
        let output = chunks.iter().flat_map(|c| framing.push(c)).collect();
        (output, framing)
    }

    #[test]
    fn noise_and_marks_are_taken_off() {
        let (output, framing) = read(&[b"Welcome!\nno newline here: abc-begin 42\nhi\nabc-end 3\nlate daemon"]);
        assert_eq!(output, b"hi\n");
        assert_eq!((framing.pid(), framing.end()), (Some(42), Some("3")));
    }

    #[test]
    fn output_without_a_final_newline_gets_none() {
        assert_eq!(read(&[b"abc-begin 1\nxabc-end 0\n"]).0, b"x");
        assert_eq!(read(&[b"abc-begin 1\nabc-end 0\n"]).0, b"");
        assert_eq!(read(&[b"abc-begin 1\n\nabc-end 0\n"]).0, b"\n");
    }

    #[test]
    fn what_only_looks_like_a_mark_is_output() {
        for text in ["abc-end", "abc-end x\n", "abc-end 1x\n", "ABC-end 0\n", "abc-begin 7\n", "x\nabc-begin 1\n"] {
            let (output, framing) = read(&[b"abc-begin 1\n", text.as_bytes(), b"abc-end 9\n"]);
            assert_eq!(String::from_utf8(output).unwrap(), text);
            assert_eq!(framing.end(), Some("9"));
        }
    }

    /// `exec 2>&1` in a startup file.
    #[test]
    fn the_marks_of_joined_streams_are_no_output() {
        for cut in 0..40 {
            let stream = b"hello\nabc-begin 1\nabc-begin 1\nhi\nabc-end 3\nabc-end 3\n";
            let (first, rest) = stream.split_at(cut);
            let (output, framing) = read(&[first, rest]);
            assert_eq!(output, b"hi\n", "{cut}");
            assert_eq!((framing.pid(), framing.end()), (Some(1), Some("3")));
        }
    }

    #[test]
    fn a_report_stands_between_output_and_end_however_it_was_cut() {
        let stream = b"abc-begin 1\nhiabc-found 0\nnotice - -- abc-end x\nabc-found 0\nabc-end 3\nlate";
        for cut in 0..stream.len() {
            let (first, rest) = stream.split_at(cut);
            let (output, mut framing) = read(&[first, rest]);
            assert_eq!((output.as_slice(), framing.end()), (&b"hi"[..], Some("3")), "{cut}");
            assert_eq!(framing.take_report().unwrap(), b"notice - -- abc-end x\nabc-found 0\n", "{cut}");
        }
        let (_, mut framing) = read(&[b"abc-begin 1\nabc-found 0\nnotice - -- x\n"]);
        assert_eq!(framing.take_report(), None, "not whole before the end mark");
        assert_eq!(framing.end(), None);
        let (_, mut framing) = read(&[b"abc-begin 1\nabc-found 0\n", "x".repeat(200_000).as_bytes(), b"abc-end 0\n"]);
        assert_eq!(framing.take_report().unwrap().len(), MAX_REPORT);
    }

    #[test]
    fn half_a_mark_at_the_end_is_no_end() {
        let (output, framing) = read(&[b"abc-begin 1\nhiabc-end 1"]);
        assert_eq!(output, b"hi");
        assert_eq!(framing.end(), None);
    }

    #[test]
    fn an_end_without_a_begin_is_known_as_such() {
        let (_, framing) = read(&[b"sh: cannot fork\nabc-end 254\n"]);
        assert_eq!((framing.pid(), framing.end()), (None, Some("254")));
        assert_eq!(framing.noise(), b"sh: cannot fork\n");
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
            Just(b"abc-end ".to_vec()),
            Just(b"abc-en".to_vec()),
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
            let whole = |mark: &[u8], bytes: &[u8]| matches!(find(bytes, mark, is_number), Some((_, Mark::Whole { .. })));
            prop_assume!(!whole(b"abc-begin ", &[&noise[..], b"abc-begin "].concat()));
            prop_assume!(!whole(b"abc-end ", &[&noise[..], b"abc-begin "].concat()));
            prop_assume!(!whole(b"abc-end ", &[&output[..], b"abc-end "].concat()));
            // That would be the mark of the other stream.
            prop_assume!(!output.starts_with(b"abc-begin 77\n"));
            let stream = [&noise[..], b"abc-begin 77\n", &output, b"abc-end 5\nlate"].concat();
            let mut framing = framing();
            let mut read = Vec::new();
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                read.extend(framing.push(chunk));
                rest = after;
            }
            prop_assert_eq!(read, output);
            prop_assert_eq!((framing.pid(), framing.end()), (Some(77), Some("5")));
        }
    }
}
