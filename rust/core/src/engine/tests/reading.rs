//! Edits of units in; claims about what the engine reads of the units where those edits happen out.

use super::*;
use crate::place;

/// Edits of all of [`UNITS`] but the first, in no order and several of one unit; actions of v7 end in a location.
const EDITED: [usize; 8] = [3, 1, 2, 2, 3, 1, 2, 3];

fn actions_at(locations: &[f32]) -> Vec<f32> {
    locations
        .iter()
        .flat_map(|&at| [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, at])
        .collect()
}

fn told() -> Vec<f32> {
    actions_at(&[0.9, 0.0, 0.5, 0.1, 0.2, 0.66, 1.0, -3.0])
}

/// A model that reads the means themselves: `reading` is the identity. No unit is as long as its window, so that a
/// location is a place in the unit.
fn open_model() -> (Config, Tensors) {
    let mut c = small_config();
    c.window = 13;
    c.reading = c.width();
    let mut weights = tensors(&c);
    let identity =
        (0..c.width() * c.width()).map(|i| f32::from(u8::from(i % (c.width() + 1) == 0)));
    weights.get_mut("reading.weight").expect("there").1 = identity.collect();
    weights.get_mut("reading.bias").expect("there").1.fill(0.0);
    (c, weights)
}

#[test]
fn what_is_read_is_the_mean_of_what_stands_in_each_range() {
    let (c, weights) = open_model();
    let engine = load(&write(&weights, metadata(&c, "f32"))).expect("loads");
    let (width, embedding) = (c.width(), &weights["encoder.embedding.weight"].1);
    for unit in UNITS {
        let n = unit.len();
        let everywhere: Vec<f32> = (0..n).map(|at| at as f32 / n as f32).collect();
        let actions = actions_at(&everywhere);
        let (f, read) = engine.read(&[unit], &vec![0; n], &actions, 1).expect("ok");
        // The second range is one token: those of all locations are the unit's tokens one by one.
        let rows: Vec<&[f32]> = read.chunks(place::RANGES * width).collect();
        let tokens: Vec<&[f32]> = rows.iter().map(|row| &row[width..2 * width]).collect();
        for (token, &id) in tokens.iter().zip(unit) {
            let embedded = &embedding[usize::from(id) * c.dim..][..c.dim];
            assert!(largest_difference(&token[..c.dim], embedded) < 1e-6);
        }
        let mean = |range: std::ops::Range<usize>, i: usize| {
            let total: f64 = tokens[range.clone()].iter().map(|t| f64::from(t[i])).sum();
            total / range.len().max(1) as f64
        };
        for (i, &value) in f.iter().enumerate().skip(c.dim) {
            assert!((f64::from(value) - mean(0..n, i)).abs() < 1e-5);
        }
        for (row, action) in rows.iter().zip(actions.chunks(7)) {
            let ranges = place::ranges(action, n, c.window);
            for (range, read) in ranges.into_iter().zip(row.chunks(width)) {
                for (i, &value) in read.iter().enumerate() {
                    let truth = mean(range.clone(), i);
                    assert!((f64::from(value) - truth).abs() < 1e-5, "{range:?}");
                }
            }
        }
    }
}

#[test]
fn an_empty_range_reads_as_the_bias() {
    let engine = load(&small_file("f32")).expect("loads");
    let bias = &tensors(&small_config())["reading.bias"].1;
    let (_, read) = engine
        .read(&UNITS, &[0, 1], &actions_at(&[0.0, 0.0]), 1)
        .expect("reads");
    for row in read.chunks(15) {
        assert!(largest_difference(&row[..3], bias) < 1e-7, "nothing before");
        assert!(largest_difference(&row[3..6], bias) > 0.05, "a token there");
    }
}

#[test]
fn readings_depend_neither_on_order_nor_on_other_edits_nor_on_threads() {
    let bytes = small_file("f32");
    let engine = load(&bytes).expect("loads");
    let (f, all) = engine.read(&UNITS, &EDITED, &told(), 1).expect("reads");
    assert_eq!(f, engine.encode(&UNITS, 1).expect("encodes"));
    assert_eq!(all.len(), EDITED.len() * 15);
    for (i, action) in told().chunks(7).enumerate() {
        let alone = engine.read(&[UNITS[EDITED[i]]], &[0], action, 1);
        assert_eq!(alone.expect("reads").1, all[i * 15..][..15], "edit {i}");
    }
    assert_ne!(all[2 * 15..][..15], all[3 * 15..][..15], "elsewhere");

    // Several chunks of units, and of edits; backwards.
    let many: Vec<&[u16]> = UNITS.iter().copied().cycle().take(1_200).collect();
    let edited: Vec<usize> = (0..2_400)
        .rev()
        .map(|i| EDITED[i % 8] + i / 8 * 4)
        .collect();
    let actions: Vec<f32> = (0..2_400)
        .rev()
        .flat_map(|i| told()[i % 8 * 7..][..7].to_vec())
        .collect();
    let many_read = |threads| engine.read(&many, &edited, &actions, threads).expect("ok");
    let whole = many_read(1);
    for threads in [0, 2, 3] {
        assert_eq!(whole, many_read(threads));
    }
    for (i, row) in whole.1.chunks(15).rev().enumerate() {
        assert_eq!(row, &all[i % 8 * 15..][..15], "edit {i}");
    }
    for isa in Isa::available() {
        let other = Engine::from_bytes_for(isa, &bytes, TOKENIZER).expect("loads");
        let (_, read) = other.read(&UNITS, &EDITED, &told(), 1).expect("reads");
        assert!(largest_difference(&read, &all) < 1e-5, "{isa:?}");
    }
}

#[test]
fn int8_reads_near_f32_through_a_map_that_is_hardly_rounded() {
    let read = |bytes: &[u8]| {
        let engine = load(bytes).expect("loads");
        engine.read(&UNITS, &EDITED, &told(), 1).expect("reads").1
    };
    let difference = largest_difference(&read(&small_file("f32")), &read(&small_file("int8")));
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
    // As the two engines' maps get the same rows here, nothing else can differ.
    let c = small_config();
    let at = rows(7 * c.width(), 9);
    let [exact, rounded] = ["f32", "int8"].map(|quant| {
        let mut out = vec![0.0; 7 * c.reading];
        let map = load(&small_file(quant)).expect("loads").reading;
        let (rows, values) = (Rows::new(&at, c.width()), RowsMut::new(&mut out, c.reading));
        map.apply(rows, values, Write::Store);
        out
    });
    let difference = largest_difference(&exact, &rounded);
    assert!(difference > 0.0 && difference < 1e-3, "{difference}");
}

#[test]
fn bad_edits_are_named_and_none_give_no_rows() {
    let engine = load(&small_file("f32")).expect("loads");
    let bad = |edited: &[usize], actions: &[f32], needle: &str| {
        let Err(Error::InvalidInput(what)) = engine.read(&UNITS, edited, actions, 1) else {
            panic!("accepted")
        };
        assert!(what.contains(needle), "{what}");
    };
    let a = actions_at(&[0.5, 0.5]);
    bad(&[0, 4], &a, "an edit is of unit 4, there are 4");
    bad(&[usize::MAX, 0], &a, "an edit is of unit");
    bad(&[0], &a, "1 edits for 2 actions");
    bad(&[0, 1, 2], &a, "3 edits for 2 actions");
    bad(&[0, 1], &a[1..], "no rows of 7 actions");
    bad(&[1], &[f32::NAN; 7], "actions have NaN in row 0");
    let none = engine.read(&UNITS, &[], &[], 1).expect("reads");
    assert_eq!(none, (engine.encode(&UNITS, 1).expect("encodes"), vec![]));
    assert_eq!(engine.read(&[], &[], &[], 0), Ok((vec![], vec![])));
    let Err(Error::InvalidInput(what)) = engine.read(&[], &[0], &a[..7], 1) else {
        panic!("accepted")
    };
    assert!(what.contains("there are 0"), "{what}");
}
