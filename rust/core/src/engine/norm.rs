//! Rows in, the same rows normalised or activated out.

use super::simd::{Isa, Kernel, erf, mul_add, sum};
use super::tensor::Rows;

/// Added to the variance, as torch's default.
const EPSILON: f32 = 1e-5;

/// Layer normalisation over a row, with gain and offset.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    isa: Isa,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    /// From gain and offset, of the same length.
    pub fn new(isa: Isa, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        LayerNorm { isa, weight, bias }
    }

    /// Writes each normalised row to `out`, which holds as many values as `x`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        debug_assert_eq!(x.len(), out.len());
        self.isa.run(Normalise {
            layer: self,
            x: Rows::new(x, self.weight.len()),
            out,
        });
    }
}

struct Normalise<'a> {
    layer: &'a LayerNorm,
    x: Rows<'a>,
    out: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(self) {
        let width = self.x.columns();
        let count = width as f32;
        for (i, out) in self.out.chunks_exact_mut(width).enumerate() {
            let x = self.x.row(i);
            let mean = sum(x, |v| v) / count;
            let variance = sum(x, |v| (v - mean) * (v - mean)) / count;
            let scale = 1.0 / (variance + EPSILON).sqrt();
            let parameters = self.layer.weight.iter().zip(&self.layer.bias);
            for ((o, &v), (&w, &b)) in out.iter_mut().zip(x).zip(parameters) {
                *o = mul_add::<FMA>((v - mean) * scale, w, b);
            }
        }
    }
}

/// GELU by the exact error function (`torch.nn.functional.gelu(approximate="none")`), in place.
pub fn gelu(isa: Isa, x: &mut [f32]) {
    isa.run(Gelu(x));
}

struct Gelu<'a>(&'a mut [f32]);

impl Kernel for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(self) {
        for v in self.0 {
            *v *= 0.5 * (1.0 + erf::<FMA>(*v * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_rows_agree_with_plain_loops() {
        for isa in Isa::available() {
            for width in [1usize, 7, 16, 128, 131] {
                let value = |i: usize| ((i * 7919) % 101) as f32 / 9.0 - 3.0;
                let x: Vec<f32> = (0..3 * width).map(value).collect();
                let w: Vec<f32> = (0..width).map(|i| value(i + 3)).collect();
                let b: Vec<f32> = (0..width).map(|i| value(i + 8)).collect();
                let mut out = vec![0.0; x.len()];
                LayerNorm::new(isa, w.clone(), b.clone()).apply(&x, &mut out);
                for (row, got) in x.chunks(width).zip(out.chunks(width)) {
                    let wide: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
                    let mean = wide.iter().sum::<f64>() / width as f64;
                    let variance =
                        wide.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                    for j in 0..width {
                        let unit = (wide[j] - mean) / (variance + 1e-5).sqrt();
                        let truth = unit * f64::from(w[j]) + f64::from(b[j]);
                        assert!(
                            (f64::from(got[j]) - truth).abs() < 1e-4,
                            "{isa:?} width {width}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn gelu_has_the_published_values() {
        // x * Phi(x), Phi from tables of the normal distribution.
        for isa in Isa::available() {
            let mut x = [0.0, 1.0, -1.0, 2.0, -3.0, 10.0, -10.0];
            gelu(isa, &mut x);
            let truth = [
                0.0,
                0.841_344_8,
                -0.158_655_25,
                1.954_499_7,
                -0.004_049_694,
                10.0,
                0.0,
            ];
            for (got, want) in x.iter().zip(truth) {
                assert!((got - want).abs() < 2e-6, "{isa:?} {got} {want}");
            }
        }
    }
}
