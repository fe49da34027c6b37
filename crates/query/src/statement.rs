//! From text to a plan that only reads.
//!
//! What is allowed is decided on the plan, not on the text: whatever the parser takes a statement for, a plan that would
//! change something has a node that says so.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, ParamValues, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, TableFactor, Value as Token, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token as SqlToken, TokenWithSpan, Tokenizer};

use crate::catalog;
use crate::{Error, Parameters, Result, Unbound};

/// Length of a statement at most.
const SQL_BYTES: usize = 1 << 20;
/// How deep a statement may be nested.
const DEPTH: usize = 64;
/// Operators of a statement. A chain of them, such as `a OR b OR c`, is read without nesting and makes a plan
/// as deep as it is long, which takes the square of it to plan; the threads of queries have stacks for that many ([`STACK_BYTES`](crate::queries::STACK_BYTES)).
const LINKS: usize = 2_000;
/// Queries that are put together by `UNION` and the like, and tables that are joined: planning takes the square of them.
const PARTS: usize = 200;

/// The one statement in `sql`, its parameters numbered.
pub(crate) fn parse(sql: &str, parameters: &Parameters) -> Result<Statement> {
    if sql.len() > SQL_BYTES {
        return Err(Error::Invalid(format!("the statement has {} bytes; at most {SQL_BYTES} are taken", sql.len())));
    }
    let dialect = GenericDialect {};
    let mut tokens =
        Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(ParserError::from).map_err(sql_error)?;
    check_length(&tokens)?;
    number_marks(&mut tokens);
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(DEPTH)
        .build()
        .and_then(|mut parser| parser.parse_statements())?;
    let mut statement = match (statements.pop_front(), statements.len()) {
        (None, _) => return Err(Error::Invalid("there is no statement in this text".to_owned())),
        (Some(statement), 0) => statement,
        (Some(_), more) => {
            return Err(Error::Invalid(format!("one statement at a time, please: there are {}", more + 1)));
        }
    };
    let mut tidy = Tidy { tables: 0, names: BTreeSet::new(), unbound: None, parameters };
    let _whole = visit(&mut statement, &mut tidy);
    if tidy.tables > PARTS {
        let found = tidy.tables;
        return Err(Error::Invalid(format!("the statement has {found} tables; at most {PARTS} are taken")));
    }
    match tidy.unbound {
        None => Ok(statement),
        Some(message) => Err(Error::Unbound(Unbound { message, names: in_order(tidy.names) })),
    }
}

fn sql_error(error: ParserError) -> Error {
    DataFusionError::SQL(Box::new(error), None).into()
}

/// Numbers the parameters that are written as `?` in the order of the text, which is not always that of the tree:
/// `OFFSET ? LIMIT ?`.
fn number_marks(tokens: &mut [TokenWithSpan]) {
    let mut marks = 0;
    for token in tokens {
        if let SqlToken::Placeholder(name) = &mut token.token
            && name == "?"
        {
            marks += 1;
            *name = format!("${marks}");
        }
    }
}

/// Refuses what would make too deep a plan, before anything is made of it.
fn check_length(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut links, mut parts) = (0, 0);
    for token in tokens {
        match &token.token {
            SqlToken::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN | Keyword::FROM => parts += 1,
                Keyword::AND
                | Keyword::AT
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::DIV
                | Keyword::ILIKE
                | Keyword::IN
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::NOT
                | Keyword::OR
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::SIMILAR
                | Keyword::XOR => links += 1,
                _ => {}
            },
            SqlToken::Number(..)
            | SqlToken::SingleQuotedString(_)
            | SqlToken::Placeholder(_)
            | SqlToken::Whitespace(_)
            | SqlToken::Comma
            | SqlToken::Period
            | SqlToken::LParen
            | SqlToken::RParen => {}
            _ => links += 1,
        }
    }
    let (found, most, what) = if links > LINKS {
        (links, LINKS, "operators; a long list of values is shorter as `IN (...)`, or as a parameter")
    } else {
        (parts, PARTS, "tables and queries put together")
    };
    match found > most {
        true => Err(Error::Invalid(format!("the statement has {found} {what}; at most {most} are taken"))),
        false => Ok(()),
    }
}

/// `$2` before `$10`.
fn in_order(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_key(|name| name.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX));
    names
}

fn visit(statement: &mut Statement, tidy: &mut Tidy<'_>) -> ControlFlow<()> {
    match statement {
        Statement::Statement(statement) => statement.visit(tidy),
        Statement::Explain(explain) => visit(&mut explain.statement, tidy),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => ControlFlow::Continue(()),
    }
}

/// Finds the parameters, and puts values for those in the arguments of table functions, whose
/// columns depend on them.
struct Tidy<'a> {
    /// Tables in `FROM`.
    tables: usize,
    /// Parameters that were met.
    names: BTreeSet<String>,
    /// What is to be said of the first that has no value and needs one.
    unbound: Option<String>,
    parameters: &'a Parameters,
}

impl VisitorMut for Tidy<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut datafusion::sql::sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
        if let Token::Placeholder(name) = &value.value {
            self.names.insert(name.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.tables += 1;
        let TableFactor::Table { args: Some(arguments), name: function, .. } = factor else {
            return ControlFlow::Continue(());
        };
        for argument in &mut arguments.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = argument else { continue };
            let Token::Placeholder(name) = &value.value else { continue };
            match self.parameters.token(name) {
                Some(token) => value.value = token,
                None => {
                    // The walk goes on: it finds the other parameters.
                    self.unbound.get_or_insert_with(|| {
                        format!("the arguments of {function} decide what columns it has: give a value for {name}, or write it out")
                    });
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// The plan of `statement`, which only reads; parameters are bound if there are any.
pub(crate) async fn plan(
    state: &SessionState,
    statement: Statement,
    parameters: Option<ParamValues>,
) -> Result<LogicalPlan> {
    if let Statement::CreateExternalTable(_) = statement {
        // Planning it would look for the table, and for its files.
        return Err(Error::ReadOnly { statement: "CREATE EXTERNAL TABLE".to_owned() });
    }
    let references = state.resolve_table_references(&statement)?;
    known(state, &references).await?;
    let plan = state.statement_to_plan(statement).await?;
    only_reads(&plan)?;
    match parameters {
        Some(values) => Ok(plan.with_param_values(values)?),
        None => Ok(plan),
    }
}

/// That every table is there; otherwise an error that names those most like it.
async fn known(state: &SessionState, references: &[TableReference]) -> Result<()> {
    for reference in references {
        if state.table_functions().contains_key(reference.table()) {
            continue;
        }
        let resolved = reference.clone().resolve(catalog::DATABASE, catalog::PUBLIC);
        if *resolved.catalog != *catalog::DATABASE {
            return Err(Error::NotFound(format!(
                "there is no database {:?}: this one is {:?}",
                resolved.catalog,
                catalog::DATABASE
            )));
        }
        let Some(schema) = state.catalog_list().catalog(&resolved.catalog).and_then(|c| c.schema(&resolved.schema))
        else {
            if &*resolved.schema == "information_schema" {
                continue;
            }
            return Err(Error::NotFound(format!(
                "there is no schema {:?}: there are \"public\", \"mlflow\" and \"information_schema\"",
                resolved.schema
            )));
        };
        if !schema.table_exist(&resolved.table) {
            return Err(Error::NotFound(catalog::no_table(&resolved.table, &schema.table_names())));
        }
    }
    Ok(())
}

/// Refuses a plan that changes anything: tables, settings, files.
fn only_reads(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| {
        refused = match node {
            LogicalPlan::Ddl(statement) => Some(statement.name().to_owned()),
            LogicalPlan::Dml(statement) => Some(statement.op.name().to_owned()),
            LogicalPlan::Copy(_) => Some("COPY".to_owned()),
            LogicalPlan::Statement(statement) => Some(name_of(statement)),
            _ => None,
        };
        Ok(match refused {
            Some(_) => datafusion::common::tree_node::TreeNodeRecursion::Stop,
            None => datafusion::common::tree_node::TreeNodeRecursion::Continue,
        })
    });
    walked?;
    refused.map_or(Ok(()), |statement| Err(Error::ReadOnly { statement }))
}

fn name_of(statement: &PlanStatement) -> String {
    match statement {
        PlanStatement::SetVariable(_) => "SET".to_owned(),
        PlanStatement::ResetVariable(_) => "RESET".to_owned(),
        PlanStatement::Prepare(_) => "PREPARE".to_owned(),
        PlanStatement::Execute(_) => "EXECUTE".to_owned(),
        PlanStatement::Deallocate(_) => "DEALLOCATE".to_owned(),
        PlanStatement::TransactionStart(_) | PlanStatement::TransactionEnd(_) => "a transaction".to_owned(),
        #[allow(unreachable_patterns, reason = "the list grows with the library")]
        other => other.name().to_owned(),
    }
}
