//! Random bytes of the kernel (getrandom(2)).

use rustix::rand::{GetRandomFlags, getrandom};

/// As many as asked for. A filter around this process may refuse the call, and what must be unlike anybody else's would
/// be the same each time without it.
pub fn bytes<const COUNT: usize>() -> rustix::io::Result<[u8; COUNT]> {
    const { assert!(COUNT <= 256, "more may come in pieces") };
    let mut bytes = [0; COUNT];
    rustix::io::retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_differ_each_time() {
        let once = super::bytes::<16>().expect("the kernel has some");
        assert_ne!(once, super::bytes::<16>().expect("the kernel has some"));
    }
}
