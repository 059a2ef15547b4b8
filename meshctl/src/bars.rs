//! Bars of a plot, in characters.

/// From nothing to a whole character.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Steps in one line.
const STEPS: usize = BLOCKS.len() - 1;

/// One bar for each value, side by side, in so many lines from top to bottom; each bar is `width`
/// characters wide. The highest reaches the top, and what is not 0 is to be seen.
pub(crate) fn bars(values: &[u128], lines: usize, width: usize) -> Vec<String> {
    let highest = values.iter().copied().max().unwrap_or(0);
    let heights: Vec<usize> = values
        .iter()
        .map(|value| height(*value, highest, lines * STEPS))
        .collect();
    let line = |from_bottom: usize| {
        let block = |height: &usize| {
            let step = height.saturating_sub(from_bottom * STEPS).min(STEPS);
            BLOCKS.get(step).copied().unwrap_or(' ')
        };
        let blocks = heights.iter().map(block);
        let text: String = blocks
            .flat_map(|it| std::iter::repeat_n(it, width))
            .collect();
        text.trim_end().to_owned()
    };
    (0..lines).rev().map(line).collect()
}

/// `value` of `highest` in steps, rounded up.
fn height(value: u128, highest: u128, steps: usize) -> usize {
    // Of numbers so large, the last digits are not to be seen.
    let shift = 64_u32.saturating_sub(highest.leading_zeros());
    let (value, highest) = (value >> shift, (highest >> shift).max(1));
    let height = (value * steps as u128).div_ceil(highest);
    usize::try_from(height).unwrap_or(steps).min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_reaches_the_top_and_what_is_not_0_is_to_be_seen() {
        assert_eq!(bars(&[0, 1, 8, 16], 2, 1), ["   █", " ▁██"]);
        assert_eq!(bars(&[1, 1_000_000], 1, 2), ["▁▁██"]);
        assert_eq!(bars(&[3, 12], 2, 1), [" █", "▄█"]);
    }

    #[test]
    fn nothing_and_everything_can_be_drawn() {
        assert_eq!(bars(&[], 2, 1), ["", ""]);
        assert_eq!(bars(&[0, 0], 1, 1), [""]);
        assert_eq!(bars(&[u128::MAX, u128::MAX / 2], 1, 1), ["█▄"]);
    }
}
