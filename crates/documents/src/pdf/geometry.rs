//! Positions and affine maps on a page.
use std::ops::Sub;

/// A position or a distance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vector {
    pub x: f32,
    pub y: f32,
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }
}

impl Vector {
    pub fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    /// Returns the vector of length 1 with the same direction, if there is one.
    pub fn normalized(self) -> Option<Self> {
        let length = self.length();
        (length > 0.0 && length.is_finite())
            .then(|| Self { x: self.x / length, y: self.y / length })
    }

    /// Returns the component along a direction of length 1.
    pub fn along(self, direction: Self) -> f32 {
        self.x * direction.x + self.y * direction.y
    }

    /// Returns the component across a direction of length 1; it is positive to the left of it, which
    /// is above a horizontal line.
    pub fn across(self, direction: Self) -> f32 {
        self.y * direction.x - self.x * direction.y
    }
}

/// An affine map as in the PDF standard: `x' = a x + c y + e`, `y' = b x + d y + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix(pub [f32; 6]);

impl Matrix {
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    pub fn translation(x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// Returns the map that applies this map first and `next` second.
    pub fn then(&self, next: &Self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let origin = next.apply(Vector { x: e, y: f });
        let x_axis = next.apply_vector(Vector { x: a, y: b });
        let y_axis = next.apply_vector(Vector { x: c, y: d });
        Self([x_axis.x, x_axis.y, y_axis.x, y_axis.y, origin.x, origin.y])
    }

    /// Maps a position.
    pub fn apply(&self, position: Vector) -> Vector {
        let Vector { x, y } = self.apply_vector(position);
        Vector { x: x + self.0[4], y: y + self.0[5] }
    }

    /// Maps a distance.
    pub fn apply_vector(&self, Vector { x, y }: Vector) -> Vector {
        let [a, b, c, d, _, _] = self.0;
        Vector { x: a * x + c * y, y: b * x + d * y }
    }
}
