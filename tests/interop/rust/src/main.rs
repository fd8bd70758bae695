//! Second opinions written in Rust: eventlog-rs replays CC logs, tdx and td-shim-interface read TDVF metadata, and
//! mosaik's module of measurements computes MRTD, RTMR[1] and RTMR[2].
//!
//! `peer-rust COMMAND ARGUMENT...` writes lines of words; bytes are in hex. `prepare.py` lays mosaik's module beside
//! this file: its crate is a network stack that nothing here needs.

#[path = "mosaik.rs"]
#[allow(dead_code, clippy::all)]
mod mosaik;

use std::error::Error;
use std::time::Instant;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["log", path] => log(path),
        ["sections", path] => sections(path),
        ["td-shim-sections", path] => td_shim_sections(path),
        ["mrtd", path] => mrtd(path),
        ["rtmr1", kernel, initrd, memory] => rtmr1(kernel, initrd, memory),
        ["rtmr2", initrd, command_line] => rtmr2(initrd, command_line),
        ["time-mrtd", path, runs] => time(path, runs, |data| {
            mosaik::compute_mrtd(data).map(|_| ()).map_err(Into::into)
        }),
        ["time-log", path, runs] => time(path, runs, |data| {
            eventlog_rs::Eventlog::try_from(data.to_vec())?.replay_measurement_registry();
            Ok(())
        }),
        _ => Err("unknown command".into()),
    }
}

/// "event INDEX TYPE DIGEST" for each event, then "register INDEX VALUE".
fn log(path: &str) -> Outcome {
    let log = eventlog_rs::Eventlog::try_from(std::fs::read(path)?)?;
    for event in &log.log {
        let digest = hex::encode(&event.digests[0].digest);
        println!("event {} {} {digest}", event.target_measurement_registry, event.event_type_id);
    }
    for (index, value) in log.replay_measurement_registry() {
        println!("register {index} {}", hex::encode(value));
    }
    Ok(())
}

/// "DATA_OFFSET RAW_SIZE ADDRESS MEMORY_SIZE TYPE ATTRIBUTES" for each section, by OVMF's table of GUIDs.
fn sections(path: &str) -> Outcome {
    let found = tdx::tdvf::parse_sections(&mut std::fs::File::open(path)?).map_err(|error| error.to_string())?;
    for section in found {
        let (offset, raw, address) = (section.data_offset, section.raw_data_size, section.memory_address);
        let (memory, kind, attributes) = (section.memory_data_size, section.section_type as u32, section.attributes);
        println!("{offset} {raw} {address} {memory} {kind} {attributes}");
    }
    Ok(())
}

/// The same by td-shim's offset of the descriptor.
fn td_shim_sections(path: &str) -> Outcome {
    let data = std::fs::read(path)?;
    let (_, found) = td_shim_interface::loader::TdShimLoader::parse(&data).ok_or("no metadata of td-shim")?;
    for section in found {
        let (offset, raw, address) = (section.data_offset, section.raw_data_size, section.memory_address);
        let (memory, kind, attributes) = (section.memory_data_size, section.r#type, section.attributes);
        println!("{offset} {raw} {address} {memory} {kind} {attributes}");
    }
    Ok(())
}

fn mrtd(path: &str) -> Outcome {
    println!("{}", hex::encode(mosaik::compute_mrtd(&std::fs::read(path)?)?));
    Ok(())
}

/// RTMR[1] of a kernel and an initrd that QEMU is given; `memory` as its `-m` takes it.
fn rtmr1(kernel: &str, initrd: &str, memory: &str) -> Outcome {
    let value = mosaik::compute_rtmr1(&std::fs::read(kernel)?, &std::fs::read(initrd)?, memory);
    println!("{}", hex::encode(value));
    Ok(())
}

fn rtmr2(initrd: &str, command_line: &str) -> Outcome {
    println!("{}", hex::encode(mosaik::compute_rtmr2(command_line, &std::fs::read(initrd)?)));
    Ok(())
}

/// Seconds of each of so many runs, the file in memory.
fn time(path: &str, runs: &str, action: impl Fn(&[u8]) -> Outcome) -> Outcome {
    let data = std::fs::read(path)?;
    for _ in 0..runs.parse()? {
        let started = Instant::now();
        action(&data)?;
        println!("{}", started.elapsed().as_secs_f64());
    }
    Ok(())
}
