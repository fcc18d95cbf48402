/// Bytes in each row of the list.
const ROW: usize = 16;

/// The list of a block's byte values for the move-to-front code: rows of sixteen bytes, each a
/// number whose lowest byte is the first. So a value moves to the front by a few shifts.
#[derive(Debug)]
pub(super) struct Front {
    first: u128,
    others: [u128; 15],
}

impl Front {
    /// A list of at most 256 values.
    pub fn new(values: &[u8]) -> Self {
        let mut padded = [0; 256];
        padded.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        let mut rows = padded.as_chunks::<ROW>().0.iter().map(|row| u128::from_le_bytes(*row));
        let first = rows.next().unwrap_or_default();
        let mut others = [0; 15];
        others.iter_mut().zip(rows).for_each(|(to, from)| *to = from);
        Self { first, others }
    }

    /// The value at the front.
    #[inline(always)]
    pub fn first(&self) -> u8 {
        let [first, ..] = self.first.to_le_bytes();
        first
    }

    /// Moves the value at a place, below 256, to the front and returns it.
    #[inline(always)]
    pub fn take(&mut self, place: u16) -> u8 {
        if usize::from(place) < ROW {
            let (row, value) = pull(self.first, place);
            self.first = row | u128::from(value);
            value
        } else {
            self.take_far(place)
        }
    }

    #[inline(never)]
    fn take_far(&mut self, place: u16) -> u8 {
        let [place, _] = place.to_le_bytes();
        let row = usize::from(place) / ROW - 1;
        let mut carry = shift_in(&mut self.first, 0);
        for other in self.others.iter_mut().take(row) {
            carry = shift_in(other, carry);
        }
        let Some(last) = self.others.get_mut(row) else { return 0 };
        let (pulled, value) = pull(*last, u16::from(place) % 16);
        *last = pulled | u128::from(carry);
        self.first |= u128::from(value);
        value
    }
}

/// Takes the byte at a place below 16 out of a row; those before move up by one and leave a zero.
#[inline(always)]
fn pull(row: u128, place: u16) -> (u128, u8) {
    let shift = 8 * (u32::from(place) & 15);
    let [value, ..] = (row >> shift).to_le_bytes();
    // In two steps, since all 128 bits may go.
    let behind = (u128::MAX << shift) << 8;
    ((row & behind) | ((row << 8) & !behind), value)
}

/// Moves all bytes of a row up by one, puts one in front, and returns the last, which falls out.
#[inline(always)]
fn shift_in(row: &mut u128, value: u8) -> u8 {
    let [.., last] = row.to_le_bytes();
    *row = (*row << 8) | u128::from(value);
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moves_as_a_list_does(
            values in prop::collection::vec(any::<u8>(), 1..=256),
            places in prop::collection::vec(0..256_usize, 0..300),
        ) {
            let (mut front, mut list) = (Front::new(&values), values);
            for place in places {
                let place = place % list.len();
                let value = list.remove(place);
                list.insert(0, value);
                prop_assert_eq!(front.take(place as u16), value);
                prop_assert_eq!(front.first(), value);
            }
        }
    }
}
