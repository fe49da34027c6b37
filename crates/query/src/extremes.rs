//! `max` and `min` of floating point numbers by group, as they are without groups: NaN is greater than every number.
//!
//! DataFusion 55 forgets the greatest number so far when it meets a NaN, and takes the least finite number for what is
//! greater than nothing, so that a group of `-Infinity` has another maximum. Metrics are full of both.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::execution::registry::FunctionRegistry as _;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

/// Puts them in the place of DataFusion's.
pub(crate) fn mend(state: &mut SessionState) -> Result<()> {
    for (name, wanted) in [("max", Ordering::Greater), ("min", Ordering::Less)] {
        let inner = state.udaf(name)?;
        state.register_udaf(Arc::new(AggregateUDF::from(Extreme { inner, wanted })))?;
    }
    Ok(())
}

/// One of the two functions: DataFusion's, but for floating point numbers in groups.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    inner: Arc<AggregateUDF>,
    /// What a number is beside the one it replaces.
    wanted: Ordering,
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.inner().return_field(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.inner().accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.inner().state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match args.return_field.data_type() {
            DataType::Float64 => true,
            // Rarely asked for: by the slower way, which is right.
            DataType::Float16 | DataType::Float32 => false,
            _ => self.inner.inner().groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float64 => Ok(Box::new(Groups { wanted: self.wanted, numbers: Vec::new() })),
            _ => self.inner.inner().create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.inner().create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.inner().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.inner().reverse_expr()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.inner().is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.inner().value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(kind)
    }
}

/// The extreme number of each group so far.
#[derive(Debug)]
struct Groups {
    wanted: Ordering,
    numbers: Vec<Option<f64>>,
}

impl Groups {
    fn offer(&mut self, group: usize, number: f64) {
        // One NaN is like another, whatever its sign.
        let number = if number.is_nan() { f64::NAN } else { number };
        let held = &mut self.numbers[group];
        if held.is_none_or(|held| number.total_cmp(&held) == self.wanted) {
            *held = Some(number);
        }
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.numbers.resize(count, None);
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 && filter.is_none() {
            groups.iter().zip(values.values()).for_each(|(group, number)| self.offer(*group, *number));
            return Ok(());
        }
        for (row, (group, number)) in groups.iter().zip(values).enumerate() {
            let counts = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let (Some(number), true) = (number, counts) {
                self.offer(*group, number);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.update_batch(values, groups, None, count)
    }

    fn evaluate(&mut self, which: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from_iter(which.take_needed(&mut self.numbers))))
    }

    fn state(&mut self, which: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(which)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let Some(filter) = filter else { return Ok(vec![Arc::clone(&values[0])]) };
        let left_out = BooleanArray::new(!filter.values(), None);
        let unknown = filter.nulls().map(|nulls| BooleanArray::new(!nulls.inner(), None));
        let kept = nullif(&values[0], &left_out)?;
        Ok(vec![match unknown {
            Some(unknown) => nullif(&kept, &unknown)?,
            None => kept,
        }])
    }

    fn size(&self) -> usize {
        self.numbers.capacity() * size_of::<Option<f64>>()
    }
}
