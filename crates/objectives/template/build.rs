//! Lets the program find libtorch when it starts.
fn main() {
    libtorch_setup::set_run_path();
}
