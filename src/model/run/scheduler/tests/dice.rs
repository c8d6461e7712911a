//! Chance, for random runs.

/// What happens next; when there is no more of it, nothing goes wrong any more.
pub struct Dice {
    pub rolls: std::vec::IntoIter<u16>,
    /// Nothing goes wrong on the hosts, or between them and the controller.
    pub calm: bool,
    /// Controllers do not die.
    pub immortal: bool,
    /// Nobody interrupts.
    pub patient: bool,
}

impl Dice {
    pub fn new(rolls: Vec<u16>) -> Self {
        Self { rolls: rolls.into_iter(), calm: false, immortal: false, patient: false }
    }

    pub fn roll(&mut self) -> usize {
        usize::from(self.rolls.next().unwrap_or(u16::MAX))
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.roll().is_multiple_of(n)
    }

    pub fn trouble_in(&mut self, n: usize) -> bool {
        !self.calm && self.one_in(n)
    }
}
