//! Unpacks a bzip2 file to the standard output with several threads, and says how fast:
//! `cargo run --release -p bzip2-blocks --example bunzip -- FILE [THREADS]`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::thread::available_parallelism;
use std::time::Instant;

use bzip2_blocks::Bzip2Blocks;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected the path of a bzip2 file")?;
    let threads = match arguments.next() {
        Some(threads) => threads.parse()?,
        None => available_parallelism()?.get(),
    };
    let begin = Instant::now();
    let (mut blocks, mut bytes) = (0_u32, 0.0);
    let mut output = io::stdout().lock();
    let mut packed = 0;
    for block in Bzip2Blocks::new(File::open(&path)?, threads)? {
        let block = block?;
        output.write_all(&block.bytes)?;
        blocks += 1;
        packed = block.end.bit_offset / 8;
        bytes += u32::try_from(block.bytes.len()).map(f64::from)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "{threads} threads, {blocks} blocks, {packed} bytes to {:.1} MB in {seconds:.2} s: {:.1} MB/s",
        bytes / 1e6,
        bytes / 1e6 / seconds
    );
    Ok(())
}
