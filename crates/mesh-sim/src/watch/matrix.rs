//! A value for each pair of nodes, in one piece of memory.

use crate::NodeIndex;

/// Rows are destinations, columns the nodes that want to get there.
#[derive(Clone, Debug)]
pub(super) struct Matrix<T> {
    width: usize,
    cells: Vec<T>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "node indices come from the topology the matrix was made for"
)]
impl<T: Copy> Matrix<T> {
    pub(super) fn new(nodes: usize, value: T) -> Self {
        Self {
            width: nodes,
            cells: vec![value; nodes * nodes],
        }
    }

    pub(super) fn get(&self, row: NodeIndex, column: NodeIndex) -> T {
        self.cells[row.0 * self.width + column.0]
    }

    pub(super) fn set(&mut self, row: NodeIndex, column: NodeIndex, value: T) {
        self.cells[row.0 * self.width + column.0] = value;
    }
}
