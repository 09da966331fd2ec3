//! Why a simulation could not be run or shown.

use std::path::PathBuf;

use crate::core::fleet::BadParams;

/// Why a simulation could not be run or shown.
#[derive(Debug)]
pub enum SimulateError {
    /// The parameters mean nothing.
    Params(String),
    /// A plot cannot be written.
    Plot(PathBuf, std::io::Error),
    /// The table cannot be written.
    Output(std::io::Error),
}

impl From<std::io::Error> for SimulateError {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<BadParams> for SimulateError {
    fn from(error: BadParams) -> Self {
        Self::Params(error.to_string())
    }
}
