//! A written model file in; claims about loading, agreement of instruction sets and threads, and refusal of damage out.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;

const TOKENIZER: &str = "test-tokenizer";

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn small_config() -> Config {
    Config {
        vocab_size: 40,
        window: 12,
        dim: 8,
        heads: 2,
        mlp: 16,
        target_loops: 2,
        online_loops: 1,
        predictor_blocks: 2,
        predictor_loops: 2,
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
    for side in ["target", "online"] {
        shapes.push((
            format!("{side}.embedding.weight"),
            vec![c.vocab_size, c.dim],
        ));
        shapes.push((format!("{side}.position.weight"), vec![c.window, c.dim]));
        block(&mut shapes, format!("{side}.block"));
        shapes.extend(norm(format!("{side}.norm")));
    }
    shapes.extend(linear("target.whiten".to_owned(), c.dim, c.dim));
    shapes.extend(linear("action.up".to_owned(), c.action_dim, c.dim));
    shapes.extend(linear("action.down".to_owned(), c.dim, c.dim));
    shapes.push(("predictor.type".to_owned(), vec![2, c.dim]));
    for i in 0..c.predictor_blocks {
        block(&mut shapes, format!("predictor.blocks.{i}"));
    }
    shapes.extend(norm("predictor.norm".to_owned()));
    shapes.extend(linear("predictor.out".to_owned(), c.dim, c.dim));

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
        let matrix = shape.len() == 2
            && name.ends_with(".weight")
            && !name.contains("whiten")
            && !name.contains("position");
        if !(quantised && matrix) {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            stored.push((name.clone(), Dtype::F32, shape.clone(), bytes));
            continue;
        }
        let (mut scales, mut bytes) = (Vec::new(), Vec::new());
        for row in values.chunks(shape[1]) {
            let scale = row.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
            scales.extend(scale.to_le_bytes());
            bytes.extend(row.iter().map(|v| (v / scale).round() as i8 as u8));
        }
        stored.push((format!("{name}.scale"), Dtype::F32, vec![shape[0]], scales));
        stored.push((name.clone(), Dtype::I8, shape.clone(), bytes));
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

#[test]
fn results_depend_neither_on_batch_nor_threads_and_hardly_on_the_instruction_set() {
    let bytes = small_file("f32");
    let engine = load(&bytes).expect("loads");
    let many: Vec<&[u16]> = UNITS.iter().copied().cycle().take(200).collect();
    let all = engine.encode_target(&many, 0).expect("encodes");
    assert_eq!(all, engine.encode_target(&many, 1).expect("encodes"));
    assert_eq!(all, engine.encode_target(&many, 3).expect("encodes"));
    for (unit, row) in UNITS.iter().zip(all.chunks(8)) {
        assert_eq!(engine.encode_target(&[unit], 0).expect("encodes"), row);
    }
    let actions: Vec<f32> = (0..21).map(|i| i as f32 / 7.0).collect();
    for isa in Isa::available() {
        let other = Engine::from_bytes_for(isa, &bytes, TOKENIZER).expect("loads");
        let rows = other.encode_target(&many, 1).expect("encodes");
        assert!(largest_difference(&rows, &all) < 1e-5, "{isa:?}");
        let action = other.encode_action(&actions).expect("encodes");
        let state = other.encode_online(&UNITS[..3], 0).expect("encodes");
        let predicted = other.predict(&state, &action).expect("predicts");
        let reference = engine.predict(&state, &action).expect("predicts");
        assert!(largest_difference(&predicted, &reference) < 1e-5, "{isa:?}");
    }
}

#[test]
fn int8_stays_near_f32_and_nothing_in_gives_nothing_out() {
    let (exact, rounded) = (
        load(&small_file("f32")).expect("loads"),
        load(&small_file("int8")).expect("loads"),
    );
    let (a, b) = (
        exact.encode_online(&UNITS, 0).expect("ok"),
        rounded.encode_online(&UNITS, 0).expect("ok"),
    );
    let difference = largest_difference(&a, &b);
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
    assert_eq!(exact.encode_target(&[], 0), Ok(vec![]));
    assert_eq!(exact.encode_action(&[]), Ok(vec![]));
    assert_eq!(exact.predict(&[], &[]), Ok(vec![]));
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
        let Err(Error::InvalidInput(what)) = engine.encode_target(&[&[1], unit], 0) else {
            panic!("accepted")
        };
        assert!(what.contains(needle), "{what}");
    }
    let bad = |result: Result<Vec<f32>>| assert!(matches!(result, Err(Error::InvalidInput(_))));
    bad(engine.encode_action(&[0.0; 8]));
    bad(engine.encode_action(&[f32::NAN; 7]));
    bad(engine.predict(&[0.0; 8], &[0.0; 16]));
    bad(engine.predict(&[f32::INFINITY; 8], &[0.0; 8]));
    let many = vec![&[1u16; 12][..]; 100];
    bad(engine.encode_target(&many, MAX_THREADS + 1));
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
    assert!(with("format", "codewm.model/2").contains("codewm.model/2"));
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
        broken.get_mut(name).expect("there").1[3] = f32::NAN;
        let what = message(load(&write(&broken, metadata(&c, "f32"))));
        assert!(what.contains(&format!("{name} has NaN at 3")), "{what}");
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
            match engine.encode_target(&UNITS, 1) {
                Ok(rows) => prop_assert!(rows.iter().all(|v| v.is_finite())),
                Err(e) => prop_assert!(matches!(e, Error::ModelFormat(_) | Error::InvalidInput(_))),
            }
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(load(&bytes).is_err());
    }
}
