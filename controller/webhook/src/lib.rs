//! Admission and conversion reviews: review in, review out.
