//! Boxes that are used again.
//!
//! Each connection takes a few boxes of the same sizes and gives them back at its end. Between the two the system's
//! allocator sees those of hundreds of others, and cuts and joins blocks for each: a tenth of the time of a capture
//! full of handshakes. A box from here was given back a moment ago, and still is in the processor's cache.

/// Boxes kept for use; more are given back to the system.
const KEPT_MAX: usize = 256;

/// Spent boxes of one type. What they held stays in them until they are used again.
#[derive(Debug)]
#[allow(clippy::vec_box)] // the boxes are the point
pub struct Pool<T>(Vec<Box<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pool<T> {
    /// A box with this value.
    #[inline]
    pub fn boxed(&mut self, value: T) -> Box<T> {
        match self.0.pop() {
            Some(mut spent) => {
                *spent = value;
                spent
            }
            None => Box::new(value),
        }
    }

    /// Takes a box that is not needed any more.
    #[inline]
    pub fn take_back(&mut self, spent: Box<T>) {
        if self.0.len() < KEPT_MAX {
            self.0.push(spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_box_is_used_again_and_what_it_held_goes() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let mut pool = Pool::default();
        let boxed = pool.boxed(Arc::clone(&first));
        let address = core::ptr::from_ref(&*boxed).addr();
        pool.take_back(boxed);
        let again = pool.boxed(Arc::clone(&second));
        assert_eq!(core::ptr::from_ref(&*again).addr(), address);
        assert_eq!((**again, Arc::strong_count(&first)), (2, 1));
        for _ in 0..2 * KEPT_MAX {
            pool.take_back(Box::new(Arc::clone(&first)));
        }
        assert_eq!(Arc::strong_count(&first), KEPT_MAX + 1);
    }
}
