//! CRC-32 (the one of zip and Ethernet): finds every single wrong character, every swap of two neighbours and all but
//! one in four thousand million other texts.

const POLYNOMIAL: u32 = 0xedb8_8320;

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut rest = byte;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 };
            bit += 1;
        }
        table[byte as usize] = rest;
        byte += 1;
    }
    table
}

pub(super) fn of(text: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| sum >> 8 ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)];
    !text.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_that_all_know() {
        for (text, sum) in [("", 0), ("123456789", 0xcbf4_3926), ("a", 0xe8b7_be43)] {
            assert_eq!(super::of(text.as_bytes()), sum, "{text}");
        }
    }
}
