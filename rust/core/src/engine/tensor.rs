//! A flat slice in, rows out: views of matrices whose rows lie at a fixed distance.

/// Rows to read.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    data: &'a [f32],
    stride: usize,
    first: usize,
    columns: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    /// All of `data` as rows of `columns` values; `columns` must not be 0.
    pub fn new(data: &'a [f32], columns: usize) -> Self {
        Rows {
            data,
            stride: columns,
            first: 0,
            columns,
            len: data.len() / columns,
        }
    }

    /// The columns `first..first + columns` of each row.
    #[must_use]
    pub fn columns_at(self, first: usize, columns: usize) -> Self {
        debug_assert!(first + columns <= self.columns);
        Rows {
            first: self.first + first,
            columns,
            ..self
        }
    }

    /// The rows `first..first + len`.
    #[must_use]
    pub fn rows_at(self, first: usize, len: usize) -> Self {
        Rows {
            data: &self.data[first * self.stride..][..len * self.stride],
            len,
            ..self
        }
    }

    /// How many rows.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many values a row has.
    #[inline(always)]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride + self.first..][..self.columns]
    }
}

/// Rows to write.
#[derive(Debug)]
pub struct RowsMut<'a> {
    data: &'a mut [f32],
    stride: usize,
    first: usize,
    columns: usize,
    len: usize,
}

impl<'a> RowsMut<'a> {
    /// All of `data` as rows of `columns` values; `columns` must not be 0.
    pub fn new(data: &'a mut [f32], columns: usize) -> Self {
        let len = data.len() / columns;
        RowsMut {
            data,
            stride: columns,
            first: 0,
            columns,
            len,
        }
    }

    /// The columns `first..first + columns` of each row.
    #[must_use]
    pub fn columns_at(self, first: usize, columns: usize) -> Self {
        debug_assert!(first + columns <= self.columns);
        RowsMut {
            first: self.first + first,
            columns,
            ..self
        }
    }

    /// How many rows.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many values a row has.
    #[inline(always)]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    #[inline(always)]
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.stride + self.first..][..self.columns]
    }
}
