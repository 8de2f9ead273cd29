//! Where the frames of a WebSocket end (RFC 6455, 5.2), seen as bytes pass, and the frame that says goodbye. Which bytes go
//! where, and when somebody has to go, is not known here; nor is anything inside of a frame.

/// Where bytes may be put in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gap {
    /// Nowhere: a frame is under way.
    None,
    /// Between two frames of one message, where only control frames may stand.
    Frames,
    /// Between two messages.
    Messages,
}

/// The frames of one direction.
#[derive(Debug)]
pub(crate) struct Frames {
    at: At,
    /// The frame under way: its opcode, and whether it is its message's last.
    opcode: u8,
    last: bool,
    /// Whether a message is under way that goes on in another frame.
    open: bool,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first byte of a frame.
    Start,
    /// Before the byte with the length.
    Length,
    /// In the bytes of a long length: so many to come, the length so far, and whether a masking key follows.
    Long(u8, u64, bool),
    /// So many bytes up to the frame's end: masking key and payload.
    Payload(u64),
    /// No WebSocket: no gap is ever certain again.
    Lost,
}

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const MASK_BYTES: u64 = 4;
/// "Going away" (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;
const REASON: &[u8] = b"please connect again";

impl Frames {
    pub(crate) fn new() -> Self {
        Self { at: At::Start, opcode: 0, last: true, open: false, closed: false }
    }

    pub(crate) fn gap(&self) -> Gap {
        match (self.at, self.open) {
            (At::Start, false) => Gap::Messages,
            (At::Start, true) => Gap::Frames,
            (At::Length | At::Long(..) | At::Payload(_) | At::Lost, _) => Gap::None,
        }
    }

    /// Whether a whole Close frame has passed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes note of bytes that pass.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = self.step(bytes);
            bytes = &bytes[used..];
        }
    }

    /// The same up to the first gap of at least this kind; how many bytes that are. All, when there is none in them.
    pub(crate) fn pass_to(&mut self, gap: Gap, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            used += self.step(&bytes[used..]);
            if self.gap() >= gap {
                break;
            }
        }
        used
    }

    /// Takes at least one byte, and never goes beyond a frame's end.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match (self.at, bytes) {
            (At::Lost, _) | (_, []) => bytes.len(),
            (At::Start, [first, ..]) => {
                (self.opcode, self.last) = (first & OPCODE, first & FINAL != 0);
                self.at = At::Length;
                1
            }
            (At::Length, [byte, ..]) => {
                let masked = byte & MASKED != 0;
                match byte & !MASKED {
                    126 => self.at = At::Long(2, 0, masked),
                    127 => self.at = At::Long(8, 0, masked),
                    short => self.begin(u64::from(short), masked),
                }
                1
            }
            (At::Long(left, so_far, masked), [byte, ..]) => {
                let length = so_far << 8 | u64::from(*byte);
                match left {
                    1 if length >> 63 != 0 => self.at = At::Lost,
                    1 => self.begin(length, masked),
                    _ => self.at = At::Long(left - 1, length, masked),
                }
                1
            }
            (At::Payload(left), _) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload(left - here as u64);
                here
            }
        }
    }

    fn begin(&mut self, length: u64, masked: bool) {
        self.payload(length + if masked { MASK_BYTES } else { 0 });
    }

    fn payload(&mut self, left: u64) {
        if left > 0 {
            self.at = At::Payload(left);
            return;
        }
        self.at = At::Start;
        self.closed |= self.opcode == CLOSE;
        if self.opcode & CONTROL == 0 {
            self.open = !self.last;
        }
    }
}

/// The frame with which a server goes away.
pub(crate) fn going_away() -> Vec<u8> {
    let mut frame = vec![FINAL | CLOSE, 2 + REASON.len() as u8];
    frame.extend_from_slice(&GOING_AWAY.to_be_bytes());
    frame.extend_from_slice(REASON);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Frame {
        opcode: u8,
        last: bool,
        payload: usize,
        masked: bool,
        /// Whether its length is written longer than it has to be, which is wrong, and clear.
        wasteful: bool,
    }

    impl Frame {
        fn write(&self, out: &mut Vec<u8>) {
            out.push(self.opcode | if self.last { FINAL } else { 0 });
            let mask = if self.masked { MASKED } else { 0 };
            match (self.payload, self.wasteful) {
                (0..126, false) => out.push(mask | self.payload as u8),
                (0..65_536, false) => {
                    out.push(mask | 126);
                    out.extend((self.payload as u16).to_be_bytes());
                }
                _ => {
                    out.push(mask | 127);
                    out.extend((self.payload as u64).to_be_bytes());
                }
            }
            // Bytes that look like frames themselves.
            let mask = if self.masked { 4 } else { 0 };
            out.extend(std::iter::repeat_n(0x88, self.payload + mask));
        }
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let payload = prop_oneof![
            8 => 0_usize..130,
            1 => 65_530_usize..65_540,
        ];
        let opcode = prop::sample::select(vec![0_u8, 1, 2, 8, 9, 10]);
        (opcode, any::<bool>(), payload, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
            |(opcode, last, payload, masked, wasteful)| {
                let last = last || opcode >= CONTROL;
                Frame { opcode, last, payload, masked, wasteful }
            },
        )
    }

    /// All gaps with where they are.
    fn gaps(bytes: &[u8], cuts: &[usize]) -> Vec<(usize, Gap)> {
        let (mut frames, mut found, mut from) = (Frames::new(), Vec::new(), 0);
        for upto in cuts.iter().copied().chain([bytes.len()]) {
            while from < upto {
                from += frames.pass_to(Gap::Frames, &bytes[from..upto]);
                if frames.gap() != Gap::None {
                    found.push((from, frames.gap()));
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn gaps_are_where_frames_end_however_the_bytes_arrive(
            all in prop::collection::vec(frame(), 1..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let (mut bytes, mut expected, mut open, mut closed) = (Vec::new(), Vec::new(), false, false);
            for frame in &all {
                frame.write(&mut bytes);
                open = if frame.opcode < CONTROL { !frame.last } else { open };
                closed |= frame.opcode == CLOSE;
                expected.push((bytes.len(), if open { Gap::Frames } else { Gap::Messages }));
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(&gaps(&bytes, &cuts), &expected);
            let each: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(&gaps(&bytes, &each), &expected);
            let mut frames = Frames::new();
            frames.pass(&bytes);
            prop_assert_eq!((frames.gap(), frames.is_closed()), (expected[all.len() - 1].1, closed));
            let unfinished = bytes.len() - 1;
            let mut frames = Frames::new();
            frames.pass(&bytes[..unfinished]);
            prop_assert_eq!(frames.gap(), Gap::None);
        }

        #[test]
        fn whatever_comes_is_passed_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut frames = Frames::new();
            let mut from = 0;
            while from < bytes.len() {
                let used = frames.pass_to(Gap::Messages, &bytes[from..]);
                prop_assert!(used > 0);
                from += used;
            }
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_never_followed_by_a_gap() {
        let mut frames = Frames::new();
        frames.pass(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        frames.pass(&[0x81, 0]);
        assert_eq!(frames.gap(), Gap::None);
    }

    #[test]
    fn the_goodbye_is_one_frame_that_any_client_reads() {
        let frame = going_away();
        assert_eq!((frame[0], usize::from(frame[1])), (0x88, frame.len() - 2));
        assert!(frame.len() <= 2 + 125, "control frames are small");
        assert_eq!(frame[2..4], [0x03, 0xe9]);
        let mut frames = Frames::new();
        assert_eq!(frames.pass_to(Gap::Messages, &frame), frame.len());
        assert!(frames.is_closed());
    }
}
