//! A notification as all clients of a lane get it: made once, packed once for those that agreed on packing it alike.

use std::cell::RefCell;
use std::rc::Rc;

use super::compress::Packing;
use crate::websocket::{Opcode, write_frame};

/// See the module.
pub(crate) struct Notice {
    payload: Vec<u8>,
    plain: Rc<[u8]>,
    /// By the window's bits: one or two of them are in use.
    packed: RefCell<Vec<(u8, Rc<[u8]>)>>,
}

impl Notice {
    /// `result` under the subscription's `id`.
    pub(crate) fn new(id: u64, result: &[u8]) -> Self {
        let start =
            format!(r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{id:#x}","result":"#);
        let payload = [start.as_bytes(), result, b"}}"].concat();
        let mut plain = Vec::new();
        write_frame(&mut plain, Opcode::Text, false, &payload, None);
        Self { payload, plain: plain.into(), packed: RefCell::default() }
    }

    /// Bytes of JSON in it.
    pub(crate) fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The frame as a connection that packs like this is sent it.
    pub(super) fn frame(&self, packing: Option<&Packing>) -> Rc<[u8]> {
        let Some(packing) = packing else { return Rc::clone(&self.plain) };
        let bits = packing.window_bits();
        let mut all = self.packed.borrow_mut();
        if let Some((_, frame)) = all.iter().find(|(of, _)| *of == bits) {
            return Rc::clone(frame);
        }
        let mut frame = Vec::new();
        Packing::pack(Some(packing), &self.payload, |bytes, packed| {
            write_frame(&mut frame, Opcode::Text, packed, bytes, None);
        });
        let frame: Rc<[u8]> = frame.into();
        all.push((bits, Rc::clone(&frame)));
        frame
    }
}
