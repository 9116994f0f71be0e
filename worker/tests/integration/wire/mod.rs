//! Messages that only a publisher with its own frames can send: properties that no library reads. Each costs
//! only itself, whatever queue it comes by, and nothing of it is lost.

mod headers;
mod lost;
mod unreadable;

/// Text that is no UTF-8.
const LATIN: &[u8] = b"matr\xedc";
/// Places of properties in a list.
const HEADERS: u8 = 2;
const PRIORITY: u8 = 4;
const CORRELATION_ID: u8 = 5;
const MESSAGE_ID: u8 = 8;
const TYPE: u8 = 10;
