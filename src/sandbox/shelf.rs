//! The bytes of the pictures, up to a limit; the oldest go first. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Bytes by file token.
#[derive(Debug)]
pub struct Shelf {
    cap: u64,
    held: u64,
    next: u64,
    bytes: BTreeMap<u64, Bytes>,
}

impl Shelf {
    /// An empty shelf that holds at most `cap` bytes.
    pub fn new(cap: u64) -> Self {
        Self {
            cap,
            held: 0,
            next: 1,
            bytes: BTreeMap::new(),
        }
    }

    /// A file token that none had before.
    pub fn token(&mut self) -> String {
        let token = format!("boxcn{:020}", self.next);
        self.next += 1;
        token
    }

    /// Keeps bytes; older ones make room, and bytes beyond the whole limit are not kept.
    pub fn put(&mut self, token: &str, bytes: Bytes) {
        let Some(number) = number(token) else { return };
        self.held += bytes.len() as u64;
        self.bytes.insert(number, bytes);
        while self.held > self.cap {
            let Some((_, oldest)) = self.bytes.pop_first() else {
                break;
            };
            self.held -= oldest.len() as u64;
        }
    }

    /// The bytes with this token, if they are still here.
    pub fn get(&self, token: &str) -> Option<Bytes> {
        self.bytes.get(&number(token)?).cloned()
    }

    /// Drops bytes that no cell shows any more.
    pub fn remove(&mut self, token: &str) {
        if let Some(gone) = number(token).and_then(|number| self.bytes.remove(&number)) {
            self.held -= gone.len() as u64;
        }
    }
}

fn number(token: &str) -> Option<u64> {
    token.strip_prefix("boxcn")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bytes_make_room() {
        let mut shelf = Shelf::new(10);
        let tokens: Vec<_> = (0..3).map(|_| shelf.token()).collect();
        for token in &tokens {
            shelf.put(token, Bytes::from_static(b"1234"));
        }
        assert_eq!(shelf.get(&tokens[0]), None);
        assert!(shelf.get(&tokens[1]).is_some() && shelf.get(&tokens[2]).is_some());
        shelf.remove(&tokens[1]);
        assert_eq!(shelf.held, 4);
    }

    #[test]
    fn bytes_beyond_the_limit_are_not_kept() {
        let mut shelf = Shelf::new(3);
        let token = shelf.token();
        shelf.put(&token, Bytes::from_static(b"1234"));
        assert_eq!((shelf.get(&token), shelf.held), (None, 0));
    }
}
