//! `glue WASM FOLDER NAME`: writes NAME.js and NAME_bg.wasm for the web into FOLDER, from what cargo built.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wasm, folder, name] = &arguments[..] else {
        eprintln!("usage: glue WASM FOLDER NAME");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let made = bindgen
        .input_path(wasm)
        .out_name(name)
        .omit_default_module_path(false)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(false).generate(folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("glue: {e:#}");
            ExitCode::FAILURE
        }
    }
}
