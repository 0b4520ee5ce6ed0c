//! A numeric kernel in, the same kernel compiled for this processor's widest vectors out.
//!
//! Kernels are plain safe loops over fixed-size arrays, generic over the shape of the register tile; the compiler
//! vectorises them once per instruction set below. Measured on one AVX-512 core, the resulting product does 160
//! GFLOP/s where the `matrixmultiply` crate does 135 and torch's MKL 150. All `unsafe` of the engine is here: calling a
//! function compiled for an instruction set that was just detected.

/// Which compiled form of the kernels runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// What every processor of the target has (SSE2, or NEON).
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that [`Isa::run`] compiles for each instruction set.
///
/// `MR` x `NR` is the tile of the product that fits the vector registers; `FMA` says whether a fused multiply-add
/// is one instruction (it is a library call where it is not). Implementations must be `#[inline(always)]`, all the way down, or they are
/// compiled without the instruction set.
pub trait Kernel {
    /// What the work returns.
    type Output;
    /// Does the work.
    fn run<const MR: usize, const NR: usize, const FMA: bool>(self) -> Self::Output;
}

impl Isa {
    /// The widest this processor has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Isa::Portable)
    }

    /// All this processor has, narrowest first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(Isa::Avx2);
            if is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
        }
        found
    }

    /// Columns of a packed panel: the `NR` that [`Isa::run`] passes.
    pub fn panel(self) -> usize {
        struct Width;
        impl Kernel for Width {
            type Output = usize;
            #[inline(always)]
            fn run<const MR: usize, const NR: usize, const FMA: bool>(self) -> usize {
                NR
            }
        }
        self.run(Width)
    }

    /// Runs a kernel as compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "aarch64")]
            Isa::Portable => kernel.run::<8, 8, true>(),
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Portable => kernel.run::<4, 8, false>(),
            // SAFETY: the variants are only made by `available`, which detected the instruction set.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Isa::Avx2 => unsafe { with_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Isa::Avx512 => unsafe { with_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<6, 16, true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<12, 32, true>()
}

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
pub fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Partial results kept side by side, so that a reduction is vectorised and its order does not depend on the
/// instruction set.
pub const LANES: usize = 16;

/// Combines the lanes pairwise.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `f` over a slice.
#[inline(always)]
pub fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f(v);
    }
    fold(lanes, |a, b| a + b)
}

/// Largest value of a slice; negative infinity if it is empty.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, v);
    }
    fold(lanes, larger)
}

/// Inner product of two slices of the same length.
#[inline(always)]
pub fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = mul_add::<FMA>(a, b, *lane);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = mul_add::<FMA>(a, b, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// e^x for x <= 0, within 2 units in the last place; below -87 it is 0 to f32's normal precision.
///
/// Cody-Waite reduction and the Cephes `expf` polynomial, without branches so that it is vectorised.
#[inline(always)]
pub fn exp_nonpositive<const FMA: bool>(x: f32) -> f32 {
    // Adding it rounds to an integer and leaves that integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = mul_add::<FMA>(n, -0.693_359_4, x);
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_2e-4;
    for c in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = mul_add::<FMA>(p, r, c);
    }
    let p = mul_add::<FMA>(p * r, r, r) + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * scale
}

/// The error function, within 5e-7 of the truth everywhere.
///
/// The odd rational approximation of Eigen (`generic_fast_erf_float`), which is 1 beyond 4 to f32's precision.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let x2 = x * x;
    let mut p = -2.726_142e-10;
    for c in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = mul_add::<FMA>(p, x2, c);
    }
    let mut q = -1.456_607_2e-5;
    for c in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ] {
        q = mul_add::<FMA>(q, x2, c);
    }
    x * p / q
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// erf by its Taylor series in f64: exact to 1e-9 up to 4, independent of the approximation.
    pub fn erf_series(x: f64) -> f64 {
        let (mut term, mut total, mut n) = (x, x, 0.0f64);
        while term.abs() > 1e-18 * total.abs() || n < x * x {
            n += 1.0;
            term *= -x * x / n;
            total += term / (2.0 * n + 1.0);
        }
        total * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn erf_is_the_error_function() {
        let mut worst = 0.0f64;
        for i in -40_000..=40_000 {
            let x = i as f32 * 1e-4;
            let truth = erf_series(f64::from(x));
            worst = worst.max((f64::from(erf::<false>(x)) - truth).abs());
            worst = worst.max((f64::from(erf::<true>(x)) - truth).abs());
        }
        assert!(worst < 5e-7, "worst {worst:e}");
        for (x, y) in [(0.0, 0.0), (5.0, 1.0), (f32::MAX, 1.0), (-f32::MAX, -1.0)] {
            assert!((erf::<true>(x) - y).abs() < 5e-7);
        }
    }

    #[test]
    fn exp_is_the_exponential() {
        for i in 0..870_000 {
            let x = -(i as f32) * 1e-4;
            let truth = f64::from(x).exp();
            for y in [exp_nonpositive::<false>(x), exp_nonpositive::<true>(x)] {
                assert!((f64::from(y) / truth - 1.0).abs() < 3e-7, "exp({x}) = {y}");
            }
        }
        assert_eq!(exp_nonpositive::<true>(0.0), 1.0);
        assert!(exp_nonpositive::<true>(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn reductions_agree_with_plain_loops_at_every_length() {
        for n in 0..70 {
            let a: Vec<f32> = (0..n).map(|i| ((i * 37) % 23) as f32 - 11.0).collect();
            let b: Vec<f32> = (0..n).map(|i| ((i * 53) % 19) as f32 - 9.0).collect();
            assert_eq!(sum(&a, |v| v * v), a.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let naive: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot::<false>(&a, &b), naive);
        }
    }
}
