//! A written model file in; claims about loading, agreement of instruction sets and threads, and refusal of damage out.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;

mod equations;
mod reading;

const TOKENIZER: &str = "test-tokenizer";

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn small_config() -> Config {
    Config {
        vocab_size: 40,
        window: 12,
        dim: 8,
        heads: 2,
        mlp: 16,
        loops: 2,
        latent: 5,
        reading: 3,
        predictor: 13,
        critic: 11,
        action: "v7".to_owned(),
        action_dim: 7,
    }
}

/// Every tensor the format asks for, with values from a fixed recurrence.
fn tensors(c: &Config) -> Tensors {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let linear = |name: String, inputs: usize, outputs: usize| {
        [
            (format!("{name}.weight"), vec![outputs, inputs]),
            (format!("{name}.bias"), vec![outputs]),
        ]
    };
    let norm = |name: String| {
        [
            (format!("{name}.weight"), vec![c.dim]),
            (format!("{name}.bias"), vec![c.dim]),
        ]
    };
    let block = |shapes: &mut Vec<(String, Vec<usize>)>, name: String| {
        shapes.extend(norm(format!("{name}.ln1")));
        shapes.extend(norm(format!("{name}.ln2")));
        shapes.extend(linear(format!("{name}.attn.qkv"), c.dim, 3 * c.dim));
        shapes.extend(linear(format!("{name}.attn.out"), c.dim, c.dim));
        shapes.extend(linear(format!("{name}.mlp.up"), c.dim, c.mlp));
        shapes.extend(linear(format!("{name}.mlp.down"), c.mlp, c.dim));
    };
    shapes.push((
        "encoder.embedding.weight".to_owned(),
        vec![c.vocab_size, c.dim],
    ));
    shapes.push(("encoder.position.weight".to_owned(), vec![c.window, c.dim]));
    block(&mut shapes, "encoder.block".to_owned());
    shapes.extend(norm("encoder.norm".to_owned()));
    shapes.extend(linear("target".to_owned(), c.width(), c.latent));
    shapes.extend(linear("state".to_owned(), c.width(), c.dim));
    shapes.extend(linear("reading".to_owned(), c.width(), c.reading));
    let told = c.dim + c.read() + c.action_dim;
    for (name, inputs, hidden, outputs) in [
        ("predictor", told, c.predictor, c.latent),
        ("critic", 2 * c.dim + c.latent + c.action_dim, c.critic, 1),
    ] {
        shapes.extend(linear(format!("{name}.up"), inputs, hidden));
        shapes.extend(linear(format!("{name}.middle"), hidden, hidden));
        shapes.extend(linear(format!("{name}.out"), hidden, outputs));
    }

    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            (name, (shape, values))
        })
        .collect()
}

fn metadata(c: &Config, quant: &str) -> HashMap<String, String> {
    let names = &crate::action::NAMES[..c.action_dim];
    [
        ("format", format::FORMAT.to_owned()),
        ("config", serde_json::to_string(c).expect("serialises")),
        ("tokenizer_id", TOKENIZER.to_owned()),
        ("action", c.action.clone()),
        (
            "action_names",
            serde_json::to_string(names).expect("serialises"),
        ),
        ("quant", quant.to_owned()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect()
}

fn write(tensors: &Tensors, metadata: HashMap<String, String>) -> Vec<u8> {
    let quantised = metadata["quant"] == "int8";
    let mut stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, (shape, values)) in tensors {
        let matrix = shape.len() == 2 && name.ends_with(".weight");
        let whitens = ["target.weight", "state.weight", "reading.weight"].contains(&name.as_str());
        if !(quantised && matrix) {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            stored.push((name.clone(), Dtype::F32, shape.clone(), bytes));
            continue;
        }
        let (mut scales, mut bytes) = (Vec::new(), Vec::new());
        for row in values.chunks(shape[1]) {
            let most = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let scale = if whitens { most } else { most / 127.0 };
            scales.extend(scale.to_le_bytes());
            for v in row {
                if whitens {
                    bytes.extend(f16::from_f32(v / scale).to_le_bytes());
                } else {
                    bytes.push((v / scale).round() as i8 as u8);
                }
            }
        }
        stored.push((format!("{name}.scale"), Dtype::F32, vec![shape[0]], scales));
        let dtype = if whitens { Dtype::F16 } else { Dtype::I8 };
        stored.push((name.clone(), dtype, shape.clone(), bytes));
    }
    let views = stored.iter().map(|(name, dtype, shape, bytes)| {
        (
            name.clone(),
            TensorView::new(*dtype, shape.clone(), bytes).expect("consistent"),
        )
    });
    safetensors::serialize(views, Some(metadata)).expect("serialises")
}

fn small_file(quant: &str) -> Vec<u8> {
    let c = small_config();
    write(&tensors(&c), metadata(&c, quant))
}

fn load(bytes: &[u8]) -> Result<Engine> {
    Engine::from_bytes(bytes, TOKENIZER)
}

fn message(result: Result<Engine>) -> String {
    result.expect_err("is refused").to_string()
}

const UNITS: [&[u16]; 4] = [&[1], &[5, 6, 7], &[39; 12], &[3, 9, 27, 14, 2]];

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

/// Values between -1 and 1, as many as asked for.
fn rows(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (((i + seed) * 7919) % 401) as f32 / 200.0 - 1.0)
        .collect()
}

/// What is read of `n` units where edits of the small model happen.
fn readings(n: usize) -> Vec<f32> {
    rows(n * small_config().read(), 6)
}

/// Arguments of [`Engine::doubt`] for `n` edits of the small model.
fn edits(n: usize) -> [Vec<f32>; 4] {
    let c = small_config();
    [
        rows(n * c.width(), 1),
        rows(n * c.width(), 2),
        rows(n * c.latent, 3),
        rows(n * c.action_dim, 4),
    ]
}

#[test]
fn results_depend_neither_on_batch_nor_threads_and_hardly_on_the_instruction_set() {
    let bytes = small_file("f32");
    let engine = load(&bytes).expect("loads");
    let many: Vec<&[u16]> = UNITS.iter().copied().cycle().take(200).collect();
    let all = engine.encode(&many, 0).expect("encodes");
    assert_eq!(all, engine.encode(&many, 1).expect("encodes"));
    assert_eq!(all, engine.encode(&many, 3).expect("encodes"));
    for (unit, row) in UNITS.iter().zip(all.chunks(16)) {
        assert_eq!(engine.encode(&[unit], 0).expect("encodes"), row);
    }
    let (read, actions) = (readings(200), rows(200 * 7, 5));
    let [_, after, residuals, _] = edits(200);
    let results = |engine: &Engine| {
        [
            engine.target(&all).expect("maps"),
            engine.predict(&all, &read, &actions).expect("predicts"),
            engine
                .doubt(&all, &after, &residuals, &actions)
                .expect("judges"),
        ]
    };
    let reference = results(&engine);
    assert_eq!(reference.each_ref().map(Vec::len), [1000, 1000, 200]);
    for isa in Isa::available() {
        let other = Engine::from_bytes_for(isa, &bytes, TOKENIZER).expect("loads");
        let encoded = other.encode(&many, 1).expect("encodes");
        assert!(largest_difference(&encoded, &all) < 1e-5, "{isa:?}");
        for (a, b) in results(&other).iter().zip(&reference) {
            assert!(largest_difference(a, b) < 1e-5, "{isa:?}");
        }
    }
}

#[test]
fn rows_depend_neither_on_their_chunk_nor_on_threads() {
    let engine = load(&small_file("f32")).expect("loads");
    // More than two chunks, the last of them not full.
    let n = 2 * CHUNK_ROWS + 17;
    let [f, after, residuals, actions] = edits(n);
    let read = readings(n);
    let whole = || {
        [
            engine.target(&f).expect("maps"),
            engine.predict(&f, &read, &actions).expect("predicts"),
            engine
                .doubt(&f, &after, &residuals, &actions)
                .expect("judges"),
        ]
    };
    let all = whole();
    for threads in [1, 3] {
        let other = on_threads(threads, || Ok(whole())).expect("runs");
        assert_eq!(all, other, "{threads} threads");
    }
    for i in (0..n).step_by(23) {
        let row = |values: &[f32], width: usize| values[i * width..][..width].to_vec();
        let (f, read, actions) = (row(&f, 16), row(&read, 15), row(&actions, 7));
        assert_eq!(engine.target(&f).expect("maps"), row(&all[0], 5));
        let predicted = engine.predict(&f, &read, &actions).expect("predicts");
        assert_eq!(predicted, row(&all[1], 5));
        let doubt = engine.doubt(&f, &row(&after, 16), &row(&residuals, 5), &actions);
        assert_eq!(doubt.expect("judges"), row(&all[2], 1));
    }
}

#[test]
fn int8_stays_near_f32_and_nothing_in_gives_nothing_out() {
    let (exact, rounded) = (
        load(&small_file("f32")).expect("loads"),
        load(&small_file("int8")).expect("loads"),
    );
    let near = |a: Vec<f32>, b: Vec<f32>| {
        let difference = largest_difference(&a, &b);
        assert!(difference > 0.0 && difference < 0.05, "{difference}");
    };
    near(
        exact.encode(&UNITS, 0).expect("ok"),
        rounded.encode(&UNITS, 0).expect("ok"),
    );
    let [f, after, residuals, actions] = edits(9);
    let read = readings(9);
    let predict = |engine: &Engine| engine.predict(&f, &read, &actions);
    near(predict(&exact).expect("ok"), predict(&rounded).expect("ok"));
    let doubt = |engine: &Engine| engine.doubt(&f, &after, &residuals, &actions);
    near(doubt(&exact).expect("ok"), doubt(&rounded).expect("ok"));
    // The maps that every score passes through are rounded a hundred times less.
    let (t, near_t) = (
        exact.target(&f).expect("ok"),
        rounded.target(&f).expect("ok"),
    );
    let difference = largest_difference(&t, &near_t);
    assert!(difference > 0.0 && difference < 1e-3, "{difference}");
    assert_eq!(exact.encode(&[], 0), Ok(vec![]));
    assert_eq!(exact.target(&[]), Ok(vec![]));
    assert_eq!(exact.predict(&[], &[], &[]), Ok(vec![]));
    assert_eq!(exact.doubt(&[], &[], &[], &[]), Ok(vec![]));
}

#[test]
fn bad_arguments_are_named() {
    let engine = load(&small_file("f32")).expect("loads");
    let refused: [(&[u16], &str); 4] = [
        (&[], "unit 1 has 0 tokens"),
        (&[7; 13], "13 tokens"),
        (&[40], "token 40"),
        (&[3, 0], "token 0"),
    ];
    for (unit, needle) in refused {
        let Err(Error::InvalidInput(what)) = engine.encode(&[&[1], unit], 0) else {
            panic!("accepted")
        };
        assert!(what.contains(needle), "{what}");
    }
    let bad = |result: Result<Vec<f32>>, needle: &str| {
        let Err(Error::InvalidInput(what)) = result else {
            panic!("accepted")
        };
        assert!(what.contains(needle), "{what}");
    };
    let (f, r, a) = (&[0.0; 16][..], &[0.0; 15][..], &[0.0; 7][..]);
    bad(engine.predict(f, r, &[0.0; 8]), "no rows of 7 actions");
    bad(engine.predict(f, r, &[f32::NAN; 7]), "actions have NaN");
    bad(engine.predict(f, r, &[0.0; 14]), "1 features for 2 actions");
    bad(engine.predict(f, &[0.0; 14], a), "no rows of 15 readings");
    bad(engine.predict(f, &[f32::NAN; 15], a), "readings have NaN");
    bad(engine.predict(f, &[], a), "1 features for 0 readings");
    bad(
        engine.predict(&[f32::INFINITY; 16], r, a),
        "features have inf",
    );
    bad(engine.target(&[0.0; 8]), "no rows of 16 features");
    bad(engine.target(&[f32::NAN; 16]), "features have NaN in row 0");
    let many = vec![&[1u16; 12][..]; 100];
    bad(engine.encode(&many, MAX_THREADS + 1), "threads");

    let names = ["features", "features after", "residuals", "actions"];
    let doubt = |[f, after, residuals, actions]: [Vec<f32>; 4]| {
        engine.doubt(&f, &after, &residuals, &actions)
    };
    for (i, name) in names.into_iter().enumerate() {
        let mut odd = edits(3);
        odd[i].pop();
        bad(doubt(odd), &format!(" {name}"));
        let mut endless = edits(3);
        *endless[i].last_mut().expect("there") = f32::NEG_INFINITY;
        bad(doubt(endless), &format!("{name} have -inf in row 2"));
        if i > 0 {
            let mut more = edits(3);
            more[i] = edits(4)[i].clone();
            bad(doubt(more), &format!("3 features for 4 {name}"));
        }
    }
}

#[test]
fn results_that_overflow_are_refused() {
    let c = small_config();
    let [f, after, residuals, actions] = edits(3);
    let read = readings(3);
    let overflows = |name: &str, run: &dyn Fn(&Engine) -> Result<Vec<f32>>| {
        let mut weights = tensors(&c);
        weights.get_mut(name).expect("there").1.fill(f32::MAX);
        let engine = load(&write(&weights, metadata(&c, "f32"))).expect("loads");
        assert!(matches!(run(&engine), Err(Error::ModelFormat(what)) if what.contains("overflow")));
    };
    overflows("target.weight", &|e| e.target(&f));
    overflows("reading.weight", &|e| {
        Ok(e.read(&UNITS, &[2], &actions[..7], 1)?.1)
    });
    for name in [
        "state.weight",
        "predictor.up.weight",
        "predictor.out.weight",
    ] {
        overflows(name, &|e| e.predict(&f, &read, &actions));
    }
    for name in ["state.weight", "critic.up.weight", "critic.out.weight"] {
        overflows(name, &|e| e.doubt(&f, &after, &residuals, &actions));
    }
}

#[test]
fn foreign_and_inconsistent_files_are_named() {
    let c = small_config();
    let good = tensors(&c);
    let with = |key: &str, value: &str| {
        let mut m = metadata(&c, "f32");
        m.insert(key.to_owned(), value.to_owned());
        message(load(&write(&good, m)))
    };
    let older = with("format", "codewm.model/3");
    assert!(
        older.contains("\"codewm.model/3\", expected \"codewm.model/4\""),
        "{older}"
    );
    assert!(with("quant", "q4").contains("q4"));
    assert!(with("action", "v15").contains("action"));
    assert!(with("action_names", "[]").contains("7 dimensions"));
    assert!(with("action_names", "{").contains("action_names"));
    let swapped = [
        "type_delete",
        "type_add",
        "type_modify",
        "scope_function",
        "scope_class",
        "scope_module",
        "location",
    ];
    assert!(
        with(
            "action_names",
            &serde_json::to_string(&swapped).expect("serialises")
        )
        .contains("7 dimensions")
    );
    let config = serde_json::to_string(&c).expect("serialises");
    assert!(with("config", &config.replace("\"dim\"", "\"dimm\"")).contains("dimm"));
    assert!(with("config", &config.replace("\"dim\":8", "\"dim\":0")).contains("dim = 0"));
    assert!(with("config", &config.replace("\"latent\":5", "\"latent\":0")).contains("latent = 0"));
    assert!(with("config", &config.replace("\"latent\":5", "\"latent\":6")).contains("[6, 16]"));
    for (size, needle) in [("0", "reading = 0"), ("4", "[4, 16]"), ("13108", "reading")] {
        let other = config.replace("\"reading\":3", &format!("\"reading\":{size}"));
        assert!(with("config", &other).contains(needle));
    }
    assert!(
        with(
            "config",
            &config.replace("\"critic\":11", "\"critic\":65537")
        )
        .contains("critic")
    );
    assert!(with("config", &config.replace("\"critic\":11,", "")).contains("missing field"));
    assert!(
        with(
            "config",
            &config.replace("\"predictor\":13", "\"predictor\":0")
        )
        .contains("predictor = 0")
    );
    assert!(with("config", &config.replace("\"loops\":2", "\"loops\":65")).contains("loops = 65"));
    assert!(with("config", &config.replace("\"heads\":2", "\"heads\":3")).contains("3 heads"));
    assert!(
        with(
            "config",
            &config.replace("loops\":2", "loops\":18446744073709551615")
        )
        .contains("loops")
    );
    assert!(
        with("config", &config.replace("\"window\":12", "\"window\":13"))
            .contains("position.weight")
    );
    let foreign = Engine::from_bytes(&small_file("f32"), "another");
    assert!(matches!(foreign, Err(Error::TokenizerMismatch { found, .. }) if found == TOKENIZER));
    for name in good.keys() {
        let mut fewer = good.clone();
        fewer.remove(name);
        assert!(
            message(load(&write(&fewer, metadata(&c, "f32"))))
                .contains(&format!("{name} is missing"))
        );
        let mut broken = good.clone();
        *broken
            .get_mut(name)
            .expect("there")
            .1
            .last_mut()
            .expect("there") = f32::NAN;
        let what = message(load(&write(&broken, metadata(&c, "f32"))));
        let at = good[name].1.len() - 1;
        assert!(what.contains(&format!("{name} has NaN at {at}")), "{what}");
    }
    let mut more = good.clone();
    more.insert("head.weight".to_owned(), (vec![1], vec![1.0]));
    assert!(
        message(load(&write(&more, metadata(&c, "f32")))).contains("unexpected tensor head.weight")
    );
    // An int8 file that says f32 has the wrong types.
    let int8 = small_file("int8");
    assert!(load(&int8).is_ok());
    let mut lying = int8.clone();
    let at = lying
        .windows(14)
        .position(|w| w == b"\"quant\":\"int8\"")
        .expect("there");
    lying[at..at + 14].copy_from_slice(b"\"quant\":\"f32\" ");
    assert!(message(load(&lying)).contains("is I8"));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small_file("int8");
    for end in (0..bytes.len()).rev().step_by(7) {
        assert!(
            matches!(load(&bytes[..end]), Err(Error::ModelFormat(_))),
            "{end} of {}",
            bytes.len()
        );
    }
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert!(matches!(load(&longer), Err(Error::ModelFormat(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// A flipped weight bit is another model; but nothing panics, and what loads gives finite rows or an error.
    #[test]
    fn flipped_bits_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        header in any::<bool>(),
        quantised in any::<bool>(),
    ) {
        let mut bytes = small_file(if quantised { "int8" } else { "f32" });
        let header_bytes = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        let reach = if header { header_bytes } else { bytes.len() };
        for (at, bit) in flips {
            bytes[at.index(reach)] ^= 1 << bit;
        }
        if let Ok(engine) = load(&bytes) {
            // A flipped header can ask for other widths.
            let c = &engine.config;
            let [f, after] = [1, 2].map(|seed| rows(c.width(), seed));
            let (residual, action) = (rows(c.latent, 3), rows(c.action_dim, 4));
            let read = rows(c.read(), 5);
            for result in [
                engine.encode(&UNITS, 1),
                engine.read(&UNITS, &[3], &action, 1).map(|(_, read)| read),
                engine.target(&f),
                engine.predict(&f, &read, &action),
                engine.doubt(&f, &after, &residual, &action),
            ] {
                match result {
                    Ok(rows) => prop_assert!(rows.iter().all(|v| v.is_finite())),
                    Err(e) => prop_assert!(matches!(e, Error::ModelFormat(_) | Error::InvalidInput(_))),
                }
            }
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(load(&bytes).is_err());
    }
}
