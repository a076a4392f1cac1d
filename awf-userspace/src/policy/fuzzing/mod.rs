//! What must hold of any name, any rule and any list of them, each property a function of the bytes they are read
//! from. The other side of each comparison goes by the text alone.

mod list;
mod rule;
mod url;

pub use self::{
    list::rules,
    rule::{host, rule},
    url::url,
};
