//! Weights and rows in; that the engine computes the model's equations, by loops in f64, out.

use super::*;

#[test]
fn target_predictor_and_critic_agree_with_plain_loops() {
    let c = small_config();
    let tensors = tensors(&c);
    let engine = load(&small_file("f32")).expect("loads");
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let weight = &tensors[&format!("{name}.weight")].1;
        let bias = &tensors[&format!("{name}.bias")].1;
        weight
            .chunks(x.len())
            .zip(bias)
            .map(|(w, &b)| {
                f64::from(b) + w.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
            })
            .collect()
    };
    let gelu = |x: Vec<f64>| -> Vec<f64> {
        x.into_iter()
            .map(|v| v * 0.5 * (1.0 + simd::tests::erf_series(v / 2f64.sqrt())))
            .collect()
    };
    let n = 30;
    let [f, after, residuals, actions] = edits(n);
    let targets = engine.target(&f).expect("maps");
    let read = readings(n);
    let predicted = engine.predict(&f, &read, &actions).expect("predicts");
    let doubts = engine
        .doubt(&f, &after, &residuals, &actions)
        .expect("judges");
    let mut lowest_and_highest = (f64::INFINITY, f64::NEG_INFINITY);
    for i in 0..n {
        let row = |values: &[f32], width: usize| -> Vec<f64> {
            let row = &values[i * width..][..width];
            row.iter().map(|&v| f64::from(v)).collect()
        };
        let perceptron = |name: &str, input: &[f64]| {
            let hidden = gelu(linear(&format!("{name}.up"), input));
            let hidden = gelu(linear(&format!("{name}.middle"), &hidden));
            linear(&format!("{name}.out"), &hidden)
        };
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
        let x = linear("state", &row(&f, c.width()));
        let mut input = x.clone();
        input.extend(row(&read, c.read()));
        input.extend(row(&actions, c.action_dim));
        for (found, truth) in [
            (&targets, linear("target", &row(&f, c.width()))),
            (&predicted, perceptron("predictor", &input)),
        ] {
            for (a, b) in row(found, c.latent).into_iter().zip(truth) {
                assert!(close(a, b), "row {i}: {a} {b}");
            }
        }
        let x_after = linear("state", &row(&after, c.width()));
        let mut input = x.clone();
        input.extend(x_after.iter().zip(&x).map(|(b, a)| b - a));
        input.extend(row(&residuals, c.latent));
        input.extend(row(&actions, c.action_dim));
        let truth = perceptron("critic", &input)[0];
        assert!(
            close(f64::from(doubts[i]), truth),
            "row {i}: {} {truth}",
            doubts[i]
        );
        lowest_and_highest.0 = truth.min(lowest_and_highest.0);
        lowest_and_highest.1 = truth.max(lowest_and_highest.1);
    }
    assert!(
        lowest_and_highest.1 - lowest_and_highest.0 > 0.1,
        "the rows differ"
    );
}

#[test]
fn the_first_half_of_a_latent_is_the_mean_of_what_goes_into_the_loops() {
    let c = small_config();
    let tensors = tensors(&c);
    let (embedding, position) = (
        &tensors["encoder.embedding.weight"].1,
        &tensors["encoder.position.weight"].1,
    );
    let f = load(&small_file("f32"))
        .and_then(|engine| engine.encode(&UNITS, 1))
        .expect("encodes");
    for (unit, row) in UNITS.iter().zip(f.chunks(c.width())) {
        for (i, &got) in row[..c.dim].iter().enumerate() {
            let placed = unit.iter().enumerate().map(|(at, &id)| {
                f64::from(embedding[usize::from(id) * c.dim + i])
                    + f64::from(position[at * c.dim + i])
            });
            let mean = placed.sum::<f64>() / unit.len() as f64;
            assert!((f64::from(got) - mean).abs() < 1e-6, "{got} {mean}");
        }
        assert!(largest_difference(&row[..c.dim], &row[c.dim..]) > 0.1);
    }
}
